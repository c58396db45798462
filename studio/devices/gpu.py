"""Facts and readings of one NVIDIA GPU."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from studio.core.facts import DeviceFacts, DeviceSample
from studio.devices.memory import read_ram
from studio.devices.nvml import Handle, Nvml
from studio.devices.reading import Gaps, Missing, Reading

T = TypeVar("T")
Bytes = tuple[int, int]  # total, free

UNKNOWN_CAPABILITY = (0, 0)
AMPERE = (8, 0)


def gpu_facts(device_id: str, uuid: str, nvml: Nvml) -> DeviceFacts:
    """What is known about a GPU; a field that it does not report stays at its default."""
    import pynvml

    total, free = _or(nvml.ask(uuid, _memory), (0, 0))
    capability = compute_capability(uuid, nvml)
    limit_w = nvml.ask(uuid, pynvml.nvmlDeviceGetEnforcedPowerLimit)
    return DeviceFacts(
        id=device_id,
        name=_or(nvml.ask(uuid, lambda handle: str(pynvml.nvmlDeviceGetName(handle))), "NVIDIA GPU"),
        kind="cuda",
        total_bytes=total,
        free_bytes=free,
        compute_capability=None if capability == UNKNOWN_CAPABILITY else capability,
        bf16=capability >= AMPERE,
        power_limit_w=None if isinstance(limit_w, Missing) else limit_w / 1000,
        driver=_or(nvml.driver(), ""),
    )


def read_gpu(device_id: str, uuid: str, pid: int | None, nvml: Nvml) -> Reading:
    """One reading; a GPU that the driver has lost has no memory to give: all its bytes are 0."""
    import pynvml

    gaps = Gaps()

    def read(field: str, question: Callable[[Handle], Any]) -> Any:
        return gaps.take(field, nvml.ask(uuid, question))

    total, free = read("free_bytes", _memory) or (0, 0)
    processes = read("processes", _processes)
    sample = DeviceSample(
        device=device_id,
        time=time.time(),
        used_bytes=total - free,
        free_bytes=free,
        total_bytes=total,
        process_bytes=gaps.take("process_bytes", _bytes_of(pid, processes or ())),
        utilization=read("utilization", lambda handle: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
        power_w=read("power_w", _power_w),
        energy_j=read("energy_j", lambda handle: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000),
        temperature_c=read("temperature_c", _temperature_c),
        power_limit_w=read("power_limit_w", lambda handle: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        processes=processes or (),
    )
    return Reading(sample, gaps.reasons)


def gpu_power_is_averaged(uuid: str, nvml: Nvml) -> bool:
    """Whether ``power_w`` of this GPU is a mean over a second, so that its integral means something."""
    if not isinstance(nvml.ask(uuid, _averaged_power_w), Missing):
        return True
    # nvmlDeviceGetPowerUsage averages over 1 s on Ampere and newer, but not on GA100 (8.0)
    return compute_capability(uuid, nvml) > AMPERE


def compute_capability(uuid: str, nvml: Nvml) -> tuple[int, int]:
    """Major and minor compute capability; (0, 0) if the driver does not say."""
    import pynvml

    capability: tuple[int, int] | Missing = nvml.ask(uuid, pynvml.nvmlDeviceGetCudaComputeCapability)
    return _or(capability, UNKNOWN_CAPABILITY)


def _memory(handle: Handle) -> Bytes:
    """Total and free bytes. What the driver reserves for itself counts as used."""
    import pynvml

    try:
        info = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_InvalidArgument):
        info = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError_NotSupported:
        ram = read_ram()  # a GPU that shares the machine's memory has none of its own to report
        return ram.total_bytes, ram.free_bytes
    return int(info.total), int(info.free)


def _power_w(handle: Handle) -> float:
    """Board power, averaged over a second wherever the GPU offers that."""
    import pynvml

    try:
        return _averaged_power_w(handle)
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_UNINITIALIZED):
            raise
    return float(pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)


def _averaged_power_w(handle: Handle) -> float:
    """Field 185 for the GPU, else for the module (Grace Hopper reports only that)."""
    import pynvml

    scopes = (pynvml.NVML_POWER_SCOPE_GPU, pynvml.NVML_POWER_SCOPE_MODULE)
    fields = [(pynvml.NVML_FI_DEV_POWER_AVERAGE, scope) for scope in scopes]
    answers = pynvml.nvmlDeviceGetFieldValues(handle, fields)
    for answer in answers:
        if answer.nvmlReturn == pynvml.NVML_SUCCESS:
            return float(answer.value.uiVal / 1000)
    raise pynvml.NVMLError(answers[0].nvmlReturn)


def _temperature_c(handle: Handle) -> float:
    import pynvml

    return float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _processes(handle: Handle) -> tuple[tuple[int, int], ...]:
    """Processes that compute on the GPU with their bytes; 0 bytes where the driver does not say."""
    import pynvml

    running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return tuple(sorted((int(entry.pid), int(entry.usedGpuMemory or 0)) for entry in running))


def _bytes_of(pid: int | None, processes: tuple[tuple[int, int], ...]) -> int | Missing | None:
    """Bytes of one process; None if it is not listed: it has not used the GPU yet, or runs in a container."""
    if pid is None:
        return Missing("no process was named")
    held = dict(processes).get(pid)
    return Missing("the driver does not report memory per process") if held == 0 else held


def _or(answer: T | Missing, default: T) -> T:
    return default if isinstance(answer, Missing) else answer
