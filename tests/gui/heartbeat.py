"""Measures how long the window does not answer."""

import os
import time
from pathlib import Path

from PySide6.QtCore import QElapsedTimer, QObject, QTimer


class Heartbeat:
    """A timer that should beat every 5 ms; what it is late is a pause of the window.

    Time in which the machine let this process wait for a processor is not the window's fault and not counted,
    nor is time that the host of a virtual machine took from the processor it had, nor what reading these took; what
    the window's own thread computed always is.
    """

    def __init__(self, owner: QObject) -> None:
        self._clock = QElapsedTimer()
        self._clock.start()
        self._waited_ms, self._stolen_ms, self._computed_s = _waited_ms(), _stolen_ms(), time.thread_time()
        self._gaps: list[float] = []
        self._timer = QTimer(owner, interval=5)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        gap, computed_s = self._clock.elapsed(), time.thread_time()
        waited_ms, stolen_ms = _waited_ms(), _stolen_ms()
        waited = max(0.0, waited_ms - self._waited_ms)  # the sum falls when a thread ends
        stolen = max((now - before for now, before in zip(stolen_ms, self._stolen_ms, strict=True)), default=0.0)
        self._gaps.append(max(gap - waited - stolen, 1000 * (computed_s - self._computed_s)))
        self._waited_ms, self._stolen_ms, self._computed_s = waited_ms, stolen_ms, time.thread_time()
        self._clock.restart()

    def stop(self) -> None:
        self._timer.stop()

    def longest_ms(self) -> float:
        return max(self._gaps)

    def report(self) -> str:
        return f"longest pauses {sorted(self._gaps)[-10:]} ms in {len(self._gaps)} beats"


def _waited_ms() -> float:
    """How long this process's threads were ready to run while others had the processors; 0 where Linux is not."""
    waited_ns = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        try:
            waited_ns += int(path.read_text().split()[1])
        except (OSError, IndexError):  # the thread ended just now
            continue
    return waited_ns / 1e6


def _stolen_ms() -> list[float]:
    """How long the host ran something else on each processor while the processor had work; empty where Linux is not."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return []
    tick_ms = 1000 / os.sysconf("SC_CLK_TCK")
    return [int(line.split()[8]) * tick_ms for line in lines if line.startswith("cpu") and line[3].isdigit()]
