"""An NVML made of Python for tests: stands in for the driver's library below the real pynvml.

Its GPUs draw power along a square wave whose integral is known in closed form; calls can be made to fail.
"""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

REFRESH_S = 0.1  # how often a real counter and power reading change
AVERAGE_S = 1.0


@dataclass
class FakeGpu:
    """A GPU that alternates between ``low_w`` and ``high_w`` with the given period, half of it each."""

    uuid: str
    name: str = "NVIDIA Test 9000"
    total_bytes: int = 24 * 1024**3
    used_bytes: int = 1024**3
    reserved_bytes: int = 256 * 1024**2
    capability: tuple[int, int] = (8, 6)
    limit_w: float = 350.0
    temperature_c: int = 55
    utilization: int = 80
    low_w: float = 60.0
    high_w: float = 300.0
    period_s: float = 0.7
    phase_s: float = 0.0
    energy_offset_j: float = 1234.5
    processes: list[tuple[int, int]] = field(default_factory=list)
    lost: bool = False

    def power_w(self, time_s: float) -> float:
        return self.high_w if ((time_s + self.phase_s) % self.period_s) < self.period_s / 2 else self.low_w

    def energy_j(self, time_s: float) -> float:
        """Integral of the power up to ``time_s``."""
        whole, rest = divmod(time_s + self.phase_s, self.period_s)
        half = self.period_s / 2
        cycle = half * (self.high_w + self.low_w)
        return whole * cycle + min(rest, half) * self.high_w + max(0.0, rest - half) * self.low_w

    def mean_w(self, time_s: float) -> float:
        start = max(0.0, time_s - AVERAGE_S)
        return (self.energy_j(time_s) - self.energy_j(start)) / max(time_s - start, 1e-9)


class FakeNvml:
    """The C library as pynvml sees it: functions that fill out-parameters and return an error code."""

    def __init__(self, clock: Callable[[], float], gpus: list[FakeGpu]) -> None:
        self.clock = clock
        self.gpus = gpus
        self.errors: dict[str, int] = {}  # function name -> the error code it returns
        self.absent: set[str] = set()  # functions this driver's library does not have
        self.field_error = 0
        self.sessions = 0
        self.running = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "FakeNvml":
        monkeypatch.setattr(pynvml, "nvmlLib", self)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return self

    def __getattr__(self, name: str) -> Callable[..., int]:
        implementation = type(self).__dict__.get(f"_{name}")
        if not name.startswith("nvml") or implementation is None or name in self.absent:
            raise AttributeError(name)

        def call(*args: Any) -> int:
            code = self.errors.get(name, 0)
            if not code and not self.running and name != "nvmlInitWithFlags":
                code = pynvml.NVML_ERROR_UNINITIALIZED
            return code or implementation(self, *args) or pynvml.NVML_SUCCESS

        return call

    @property
    def now(self) -> float:
        """The time of the last refresh of counter and power."""
        return math.floor(self.clock() / REFRESH_S + 1e-9) * REFRESH_S

    def _gpu(self, handle: Any) -> FakeGpu:
        return self.gpus[_index(handle)]

    def _nvmlInitWithFlags(self, _flags: Any) -> None:
        self.sessions += 1
        self.running = True

    def _nvmlShutdown(self) -> None:
        self.running = False

    def _nvmlDeviceGetCount_v2(self, count: Any) -> None:
        count._obj.value = len(self.gpus)

    def _nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:
        _point(handle, index.value)
        return pynvml.NVML_ERROR_GPU_IS_LOST if self.gpus[index.value].lost else 0

    def _nvmlDeviceGetHandleByUUID(self, uuid: Any, handle: Any) -> int:
        for index, gpu in enumerate(self.gpus):
            if gpu.uuid.encode() == uuid.value:
                _point(handle, index)
                return pynvml.NVML_ERROR_GPU_IS_LOST if gpu.lost else 0
        return int(pynvml.NVML_ERROR_NOT_FOUND)

    def _nvmlDeviceGetUUID(self, handle: Any, text: Any, _size: Any) -> None:
        text.value = self._gpu(handle).uuid.encode()

    def _nvmlDeviceGetName(self, handle: Any, text: Any, _size: Any) -> None:
        text.value = self._gpu(handle).name.encode()

    def _nvmlSystemGetDriverVersion(self, text: Any, _size: Any) -> None:
        text.value = b"580.65.06"

    def _nvmlDeviceGetCudaComputeCapability(self, handle: Any, major: Any, minor: Any) -> None:
        major._obj.value, minor._obj.value = self._gpu(handle).capability

    def _nvmlDeviceGetMemoryInfo_v2(self, handle: Any, memory: Any) -> None:
        gpu = self._gpu(handle)
        memory._obj.total, memory._obj.used, memory._obj.reserved = gpu.total_bytes, gpu.used_bytes, gpu.reserved_bytes
        memory._obj.free = gpu.total_bytes - gpu.used_bytes - gpu.reserved_bytes

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> None:
        gpu = self._gpu(handle)
        held = gpu.used_bytes + gpu.reserved_bytes
        memory._obj.total, memory._obj.used, memory._obj.free = gpu.total_bytes, held, gpu.total_bytes - held

    def _nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> None:
        rates._obj.gpu = self._gpu(handle).utilization

    def _nvmlDeviceGetTemperature(self, handle: Any, _sensor: Any, temperature: Any) -> None:
        temperature._obj.value = self._gpu(handle).temperature_c

    def _nvmlDeviceGetEnforcedPowerLimit(self, handle: Any, limit: Any) -> None:
        limit._obj.value = round(self._gpu(handle).limit_w * 1000)

    def _nvmlDeviceGetPowerUsage(self, handle: Any, power: Any) -> None:
        gpu = self._gpu(handle)
        watts = gpu.mean_w(self.now) if gpu.capability > (8, 0) else gpu.power_w(self.now)
        power._obj.value = round(watts * 1000)

    def _nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, energy: Any) -> None:
        gpu = self._gpu(handle)
        energy._obj.value = round((gpu.energy_j(self.now) + gpu.energy_offset_j) * 1000)

    def _nvmlDeviceGetFieldValues(self, handle: Any, _count: Any, values: Any) -> None:
        for value in values._obj:
            value.nvmlReturn = self.field_error
            if value.fieldId == pynvml.NVML_FI_DEV_POWER_AVERAGE and not self.field_error:
                value.value.uiVal = round(self._gpu(handle).mean_w(self.now) * 1000)

    def _nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, entries: Any) -> int:
        listed = self._gpu(handle).processes
        room = count._obj.value
        count._obj.value = len(listed)
        if len(listed) > room:
            return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
        for entry, (pid, bytes_) in zip(entries or (), listed, strict=False):
            entry.pid, entry.usedGpuMemory = pid, bytes_
        return 0


def _point(handle: Any, index: int) -> None:
    """Make an opaque device pointer that stands for a GPU (0 would be a null pointer)."""
    ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = index + 1


def _index(handle: Any) -> int:
    return int(ctypes.cast(handle, ctypes.c_void_p).value or 0) - 1
