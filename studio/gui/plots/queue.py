"""Draws plots one per turn of the event loop: all at once would take long enough to be felt."""

from collections import deque
from typing import TYPE_CHECKING

import shiboken6
from PySide6.QtCore import QObject, QTimer

from studio.core.errors import Cancelled, StudioError
from studio.gui.tasks import run_task, task_hub

if TYPE_CHECKING:
    from studio.gui.plots.curve_plot import CurvePlot

PAUSE_MS = 12  # between drawings, for the last to be painted and for what the user does


def preload() -> None:
    """Import the plotting library; takes half a second, so call it in a background task."""
    import numpy.ma  # noqa: F401 - numpy fetches it at the first median

    from studio.gui.plots import canvas  # noqa: F401


class PlotQueue(QObject):
    """Plots that have come into view, or have new values there."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[CurvePlot] = deque()
        self._loaded = self._loading = False
        self._timer = QTimer(self, interval=PAUSE_MS)
        self._timer.timeout.connect(self._draw_next)

    @property
    def is_busy(self) -> bool:
        """Whether plots are waiting to be drawn."""
        return bool(self._waiting)

    def request(self, plot: "CurvePlot") -> None:
        if plot in self._waiting:
            return
        self._waiting.append(plot)
        if self._loaded and not self._timer.isActive():
            self._timer.start()
        elif not self._loaded and not self._loading:
            self._load()

    def _load(self) -> None:
        self._loading = True
        run_task(self, preload, done=self._begin, failed=self._lose)

    def _begin(self, _none: object) -> None:
        self._loaded = True
        self._timer.start()

    def _lose(self, error: StudioError) -> None:
        self._loading = False
        if not isinstance(error, Cancelled):
            task_hub().unhandled.emit(error)
        elif self._waiting:  # these came after all work was cancelled
            self._load()

    def _draw_next(self) -> None:
        while self._waiting:
            plot = self._waiting.popleft()
            if shiboken6.isValid(plot) and plot.isVisible():
                if plot.canvas is None:  # making it takes as long as drawing on it
                    plot.make_canvas()
                    self._waiting.appendleft(plot)
                else:
                    plot.draw()
                return
        self._timer.stop()


_queue: list[PlotQueue] = []


def plot_queue() -> PlotQueue:
    """The one queue of this application; made anew when the application was."""
    if not _queue or not shiboken6.isValid(_queue[0]):
        _queue[:] = [PlotQueue()]
    return _queue[0]
