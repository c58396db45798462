"""What a plot's values cannot pass: a line, named in the corner also where it is out of the picture."""

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGraphicsSimpleTextItem

from studio.gui.fonts import body_font
from studio.gui.plots.style import Limit
from studio.gui.theme import theme

GAP = 4  # px


class LimitMark:
    """Its name stays in the top left corner, where a run has not used much yet; an arrow says that it is further up."""

    def __init__(self, view: pg.ViewBox, limit: Limit) -> None:
        self._view, self._limit = view, limit
        self._line = pg.InfiniteLine(limit.value, angle=0, movable=False)
        view.addItem(self._line, ignoreBounds=not limit.near)
        self._text = QGraphicsSimpleTextItem(view)
        self._text.setZValue(30)
        self._text.setPos(GAP, GAP)
        view.sigRangeChanged.connect(self._name)
        self.restyle()

    def restyle(self) -> None:
        """Take the theme's colours and font."""
        self._line.setPen(pg.mkPen(theme().color("doesnotfit"), width=1, style=Qt.PenStyle.DashLine))
        self._text.setBrush(theme().color("muted"))
        self._text.setFont(body_font())
        self._name()

    def remove(self) -> None:
        self._view.sigRangeChanged.disconnect(self._name)
        self._view.removeItem(self._line)
        self._text.scene().removeItem(self._text)

    def _name(self, *_: object) -> None:
        in_view = self._limit.value <= self._view.viewRange()[1][1]
        self._text.setText(self._limit.words if in_view else f"{self._limit.words} ↑")
