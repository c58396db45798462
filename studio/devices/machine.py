"""The devices of this machine, by the names that plans use: ``cpu``, ``cuda:0``, ``cuda:1``, …"""

import os
import threading

from studio.core.errors import MachineError
from studio.core.facts import DeviceFacts, DeviceSample
from studio.core.problems import did_you_mean
from studio.devices.cpu import CPU_ID, CpuReader, cpu_facts
from studio.devices.gpu import gpu_facts, gpu_power_is_averaged, read_gpu
from studio.devices.nvml import Nvml
from studio.devices.reading import Capability, Missing, Reading
from studio.devices.visible import visible_gpus

OPTIONAL_FIELDS = (
    "process_bytes", "utilization", "power_w", "energy_j", "temperature_c", "power_limit_w", "processes",
)  # fmt: skip


class Machine:
    """All devices of this machine; keeps a GPU's name once given, even when the driver loses it."""

    def __init__(self, nvml: Nvml | None = None, cpu: CpuReader | None = None) -> None:
        self._nvml = nvml or Nvml()
        self._cpu = cpu or CpuReader()
        self._lock = threading.Lock()
        self._uuids: dict[str, str] = {}

    def list_devices(self) -> list[DeviceFacts]:
        """The CPU, then each GPU that the CUDA runtime can see."""
        return [cpu_facts(), *(gpu_facts(name, uuid, self._nvml) for name, uuid in self._find_gpus().items())]

    def read(self, device_id: str, pid: int | None = None) -> Reading:
        """One reading, with the reasons behind its missing fields.

        Raises:
            MachineError: no device has that name.
        """
        if device_id == CPU_ID:
            return self._cpu.read(pid)
        return read_gpu(device_id, self._uuid(device_id), pid, self._nvml)

    def power_is_averaged(self, device_id: str) -> bool:
        """Whether ``power_w`` is a mean over time rather than an instant."""
        return device_id == CPU_ID or gpu_power_is_averaged(self._uuid(device_id), self._nvml)

    def _uuid(self, device_id: str) -> str:
        known = self._uuids.get(device_id) or self._find_gpus().get(device_id)
        if known is None:
            names = [CPU_ID, *self._uuids]
            raise MachineError(f"this machine has no device {device_id!r}", hint=did_you_mean(device_id, names))
        return known

    def _find_gpus(self) -> dict[str, str]:
        uuids = self._nvml.uuids()
        with self._lock:
            if not isinstance(uuids, Missing):
                seen = visible_gpus(uuids, os.environ.get("CUDA_VISIBLE_DEVICES"))
                # a lost GPU keeps its name, so that the others keep theirs
                if not set(self._uuids.values()) - set(seen):
                    self._uuids = {f"cuda:{index}": uuid for index, uuid in enumerate(seen)}
            return dict(self._uuids)


_machine = Machine()


def list_devices() -> list[DeviceFacts]:
    """The CPU, then each GPU that the CUDA runtime can see; a machine without a driver has just the CPU."""
    return _machine.list_devices()


def sample(device_id: str, pid: int | None = None) -> DeviceSample:
    """One reading; what the machine cannot tell is None, see ``capabilities`` for why.

    Raises:
        MachineError: no device has that name.
    """
    return _machine.read(device_id, pid).sample


def capabilities(device_id: str) -> dict[str, Capability]:
    """For each optional field of ``DeviceSample``: whether this machine reports it, and if not, why.

    Raises:
        MachineError: no device has that name.
    """
    missing = _machine.read(device_id, os.getpid()).missing
    return {field: Capability(field not in missing, missing.get(field, "")) for field in OPTIONAL_FIELDS}


def power_is_averaged(device_id: str) -> bool:
    """Whether ``power_w`` of the device is a mean over time, so that its integral means something."""
    return _machine.power_is_averaged(device_id)
