"""Facts and readings of the machine's CPU and RAM."""

import os
import platform
import threading
import time
from pathlib import Path

from studio.core.facts import DeviceFacts, DeviceSample
from studio.devices.memory import read_ram
from studio.devices.rapl import Rapl, read_power_limit_w
from studio.devices.reading import Gaps, Missing, Reading

CPU_ID = "cpu"
CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # the last is Arm's name
SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
SHORTEST_BUSY_S = 0.05


def cpu_facts(cpuinfo: Path = CPUINFO) -> DeviceFacts:
    """The CPU as a device that trains: its memory is the RAM this process may use."""
    ram = read_ram()
    words = _describe(cpuinfo)
    flags = set((words.get("flags") or words.get("Features") or "").split())
    return DeviceFacts(
        id=CPU_ID,
        name=words.get("model name") or platform.processor() or platform.machine() or "CPU",
        kind="cpu",
        total_bytes=ram.total_bytes,
        free_bytes=ram.free_bytes,
        bf16=bool(BF16_FLAGS & flags),
        avx512="avx512f" in flags,
        cores=count_cores(),
        power_limit_w=read_power_limit_w(),
    )


def count_cores() -> int:
    """Physical cores that this process may run on."""
    import psutil

    logical = psutil.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or logical
    if not hasattr(os, "sched_getaffinity"):  # Windows and macOS
        return int(physical)
    allowed = len(os.sched_getaffinity(0))
    return max(1, min(physical, round(allowed * physical / logical)))


class CpuReader:
    """Readings of the CPU; remembers the last busy times, since use is a difference."""

    def __init__(self, rapl: Rapl | None = None) -> None:
        self._rapl = rapl or Rapl()
        self._lock = threading.Lock()
        self._times: tuple[float, float] | None = None  # busy, all
        self._busy: float | None = None

    def read(self, pid: int | None) -> Reading:
        gaps = Gaps()
        ram = read_ram()
        joules, mean_w = self._energy(gaps)
        sample = DeviceSample(
            device=CPU_ID,
            time=time.time(),
            used_bytes=ram.total_bytes - ram.free_bytes,
            free_bytes=ram.free_bytes,
            total_bytes=ram.total_bytes,
            process_bytes=gaps.take("process_bytes", _resident_bytes(pid)),
            utilization=self._use(),
            power_w=mean_w,
            energy_j=joules,
            temperature_c=gaps.take("temperature_c", _temperature_c()),
            power_limit_w=gaps.take("power_limit_w", read_power_limit_w() or Missing("no readable power limit")),
        )
        return Reading(sample, gaps.reasons)

    def _energy(self, gaps: Gaps) -> tuple[float | None, float | None]:
        answer = gaps.take("energy_j", self._rapl.read())
        if answer is None:
            gaps.reasons["power_w"] = gaps.reasons["energy_j"]
            return None, None
        return answer

    def _use(self) -> float | None:
        """Share of the CPU in use since the previous reading; None at first."""
        import psutil

        with self._lock:
            times = psutil.cpu_times()
            idle = times.idle + getattr(times, "iowait", 0.0)
            total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
            now = (total - idle, total)
            if self._times is None:
                self._times = now
            elif now[1] - self._times[1] >= SHORTEST_BUSY_S:
                self._busy = min(1.0, max(0.0, (now[0] - self._times[0]) / (now[1] - self._times[1])))
                self._times = now
            return self._busy


def _resident_bytes(pid: int | None) -> int | Missing:
    import psutil

    if pid is None:
        return Missing("no process was named")
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return Missing(f"process {pid} has ended")
    except psutil.AccessDenied:
        return Missing(f"process {pid} belongs to another user")


def _temperature_c() -> float | Missing:
    import psutil

    if not hasattr(psutil, "sensors_temperatures"):
        return Missing("this system does not report it")
    sensors = psutil.sensors_temperatures()
    for name in SENSORS:
        if sensors.get(name):
            return float(max(entry.current for entry in sensors[name]))
    return Missing("this machine shows no CPU temperature sensor")


def _describe(cpuinfo: Path) -> dict[str, str]:
    """The entries of the first processor in ``/proc/cpuinfo``; empty on other systems."""
    try:
        first = cpuinfo.read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
