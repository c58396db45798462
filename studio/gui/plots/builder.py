"""Makes the drawings of plots one per turn of the event loop: each takes long enough to be felt."""

from collections import deque
from typing import TYPE_CHECKING

import shiboken6
from PySide6.QtCore import QObject, QTimer

from studio.gui.tasks import run_task

if TYPE_CHECKING:
    from studio.gui.plots.curve_plot import CurvePlot


def preload() -> None:
    """Import the plotting library; takes half a second, so call it in a background task."""
    from studio.gui.plots import canvas  # noqa: F401


class PlotBuilder(QObject):
    """The queue of plots that have come into view and have no drawing yet."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[CurvePlot] = deque()
        self._loaded = self._loading = False
        self._timer = QTimer(self, interval=0)
        self._timer.timeout.connect(self._build_next)

    @property
    def is_busy(self) -> bool:
        """Whether plots are waiting for their drawing."""
        return bool(self._waiting)

    def request(self, plot: "CurvePlot") -> None:
        if plot in self._waiting:
            return
        self._waiting.append(plot)
        if self._loaded:
            self._timer.start()
        elif not self._loading:
            self._loading = True
            run_task(self, preload, done=self._begin)

    def _begin(self, _none: object) -> None:
        self._loaded = True
        self._timer.start()

    def _build_next(self) -> None:
        while self._waiting:
            plot = self._waiting.popleft()
            if shiboken6.isValid(plot) and plot.isVisible():
                plot.build_canvas()
                return
        self._timer.stop()


_builder: list[PlotBuilder] = []


def plot_builder() -> PlotBuilder:
    """The one queue of this application; made anew when the application was."""
    if not _builder or not shiboken6.isValid(_builder[0]):
        _builder[:] = [PlotBuilder()]
    return _builder[0]
