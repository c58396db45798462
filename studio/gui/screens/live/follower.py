"""Keeps reading a run in the background and hands every batch to the screen, at most seven times a second."""

import time

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import StudioError
from studio.gui.screens.live.tail import Batch, RunTail
from studio.gui.tasks import run_task
from studio.rundir.layout import RunFolder

BUSY_MS = 150
QUIET_MS = 1000
QUIET_AFTER_S = 3


class Follower(QObject):
    """Reads while started, one read at a time; slower when the log has been silent.

    Signals: ``arrived(Batch)``, also without news, so that clocks go on; ``failed(StudioError)``.
    """

    arrived = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._tail: RunTail | None = None
        self._reading = False
        self._last_news = 0.0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._read)

    def open(self, folder: RunFolder) -> None:
        """Follow another run from its beginning."""
        self._tail = RunTail(folder)
        self._reading = False
        self.start()

    def start(self) -> None:
        if self._tail is not None:
            self._last_news = time.monotonic()
            self._timer.start(BUSY_MS)
            self._read()

    def stop(self) -> None:
        """Rest: nothing is read, and nothing forgotten, until ``start``."""
        self._timer.stop()

    def _read(self) -> None:
        if self._reading or self._tail is None:
            return
        self._reading = True
        tail = self._tail
        run_task(
            self,
            tail.read,
            done=lambda batch: self._take(tail, batch),
            failed=lambda error: self._fail(tail, error),
        )

    def _take(self, tail: RunTail, batch: Batch) -> None:
        if tail is not self._tail:  # another run was opened meanwhile
            return
        self._reading = False
        if batch.news:
            self._last_news = time.monotonic()
        quiet = time.monotonic() - self._last_news > QUIET_AFTER_S
        self._set_pace(QUIET_MS if quiet else BUSY_MS)
        self.arrived.emit(batch)
        if batch.more and self._timer.isActive():
            self._read()

    def _fail(self, tail: RunTail, error: StudioError) -> None:
        if tail is self._tail:
            self._reading = False
            self.stop()
            self.failed.emit(error)

    def _set_pace(self, interval_ms: int) -> None:
        if self._timer.isActive() and self._timer.interval() != interval_ms:
            self._timer.setInterval(interval_ms)
