"""What the worker reports while it trains: metrics in small bundles, phases, device readings."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from studio.core import events as ev
from studio.core.facts import DeviceSample
from studio.rundir.log import EventLog

FLUSH_S = 0.1


class Telemetry:
    """Collects per-step metrics and writes at most about ten metric events a second."""

    def __init__(self, log: EventLog, device: str) -> None:
        self._log = log
        self._device = device
        self._steps: list[int] = []
        self._values: dict[str, list[float]] = {}
        self._later: list[ev.Event] = []
        self._flushed = 0.0
        self._phase_at = 0.0
        self._sampled_peak = 0
        self._lock = threading.Lock()

    def emit(self, event: ev.Event, *, durable: bool = False) -> None:
        """Write an event now, after the metrics that came before it."""
        self.flush()
        self._log.append(event, durable=durable)

    def later(self, event: ev.Event) -> None:
        """Write an event with the metrics collected so far: short epochs end many times a second."""
        with self._lock:
            self._later.append(event)

    def state(self, state: str, reason: str = "") -> None:
        self.emit(ev.StateChanged(time.time(), state, reason), durable=True)

    def notice(self, message: str, level: str = "info") -> None:
        self.emit(ev.Noticed(time.time(), level, message))

    def phase(self, phase: str) -> Callable[[float], None]:
        """Say what begins; the returned function reports its progress, a few times a second at most."""
        self.emit(ev.PhaseChanged(time.time(), phase))

        def report(progress: float) -> None:
            now = time.monotonic()
            if now - self._phase_at > 0.25:
                self._phase_at = now
                self.emit(ev.PhaseChanged(time.time(), phase, round(progress, 3)))

        return report

    def step(self, step: int, values: dict[str, float]) -> None:
        """Add the metrics of one optimizer step."""
        with self._lock:
            self._steps.append(step)
            for name, value in values.items():
                self._values.setdefault(name, []).append(value)
        if time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the collected metrics."""
        with self._lock:
            events: list[ev.Event] = [ev.Metrics(time.time(), self._steps, self._values)] if self._steps else []
            events += self._later
            self._steps, self._values, self._later = [], {}, []
            if events:
                self._flushed = time.monotonic()
        for event in events:
            self._log.append(event)

    def device(self, sample: DeviceSample) -> None:
        """Write a device reading (called from the sampler's thread)."""
        self._sampled_peak = max(self._sampled_peak, sample.process_bytes or 0)
        self._log.append(ev.DeviceRead(sample.time, _slim(sample), allocated_bytes(self._device)))

    def peak(self) -> int:
        """The most device memory the process has held, context included where the driver tells."""
        return max(self._sampled_peak, peak_bytes(self._device))


def _slim(sample: DeviceSample) -> dict[str, Any]:
    return sample.model_dump(exclude={"processes"}, exclude_none=True)


def allocated_bytes(device: str) -> int:
    """Bytes the trainer holds: the allocator's on CUDA, the resident set on a CPU."""
    if device.startswith("cuda"):
        return int(torch.cuda.memory_allocated(device))
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_bytes(device: str) -> int:
    """The most device memory that this process has held so far, as far as its own counters tell.

    On CUDA that is what the allocator reserved; the context comes on top (see ``Telemetry.peak``).
    """
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_reserved(device))
    status = Path("/proc/self/status")  # getrusage's figure starts from the parent's peak
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import psutil

    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
