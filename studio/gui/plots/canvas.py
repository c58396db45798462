"""The drawing of a plot: the only place where pyqtgraph is used."""

from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QGraphicsGridLayout

from studio.gui.fonts import mono_font
from studio.gui.plots.limit_mark import LimitMark
from studio.gui.plots.series import Floats
from studio.gui.plots.style import DASHES, Band, CurveStyle, Limit, curve_color, faded
from studio.gui.plots.time_axis import TimeAxis
from studio.gui.theme import theme

DOWNSAMPLE_FROM = 20_000


@dataclass(frozen=True)
class Axes:
    """The fixed part of a canvas: limits, ranges that do not follow the data, time along x."""

    floor: float | None = None
    y_range: tuple[float, float] | None = None
    x_range: tuple[float, float] | None = None
    over_time: bool = False


@dataclass(frozen=True)
class DrawnCurve:
    """A curve's line, and the marks of its values that are no numbers."""

    style: CurveStyle
    item: pg.PlotDataItem
    bad_item: pg.ScatterPlotItem


class Canvas(pg.GraphicsView):  # type: ignore[misc]  # pyqtgraph has no types
    """A view with two axes, and with a wheel that scrolls the page unless Ctrl is held.

    pyqtgraph's own PlotWidget has hidden forms for its menus, which take most of the time that making one takes.
    """

    pointer_moved = Signal(float)
    pointer_left = Signal()

    def __init__(self, axes: Axes) -> None:
        super().__init__()
        self.view = pg.ViewBox(enableMenu=False)
        self.axes = {"left": pg.AxisItem("left"), "bottom": TimeAxis() if axes.over_time else pg.AxisItem("bottom")}
        self.curves: dict[str, DrawnCurve] = {}
        self._band: pg.LinearRegionItem | None = None
        self._middle: pg.InfiniteLine | None = None
        self._limit: LimitMark | None = None
        self.setFrameShape(self.Shape.NoFrame)
        self.setAntialiasing(False)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.viewport().setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._lay_out()
        self._prepare_axes(axes)
        self._cursor = pg.InfiniteLine(angle=90, movable=False)
        self._cursor.hide()
        self.view.addItem(self._cursor, ignoreBounds=True)
        self.scene().sigMouseMoved.connect(self._on_mouse)
        self.restyle()

    def add_curve(self, key: str, style: CurveStyle) -> None:
        """A curve without values yet; later ones are drawn above."""
        made = DrawnCurve(style, pg.PlotDataItem(), pg.ScatterPlotItem(symbol="x", size=9, pxMode=True))
        self.view.addItem(made.item)
        self.view.addItem(made.bad_item, ignoreBounds=True)
        self.curves[key] = made
        _paint(made)

    def remove_curves(self) -> None:
        for curve in self.curves.values():
            self.view.removeItem(curve.item)
            self.view.removeItem(curve.bad_item)
        self.curves.clear()

    def draw(self, key: str, x: Floats, y: Floats) -> None:
        """New values of a curve."""
        curve, finite, many = self.curves[key], np.isfinite(y), len(y) > DOWNSAMPLE_FROM
        curve.item.setDownsampling(auto=many, method="peak")
        curve.item.setClipToView(many)
        if finite.all():
            curve.item.setData(x, y, connect="all", skipFiniteCheck=True)
            curve.bad_item.setData([], [])
        else:
            curve.item.setData(x, np.where(finite, y, np.nan), connect="finite", skipFiniteCheck=False)
            curve.bad_item.setData(x[~finite], _beside(y, finite))

    def settle(self) -> None:
        """Find the ranges of what was drawn now: found while painting, they have everything painted twice."""
        self.view.prepareForPaint()

    def set_band(self, band: Band | None) -> None:
        """A horizontal band behind the curves, and a line at its middle; None takes it away."""
        if self._band is None or self._middle is None:
            self._band = pg.LinearRegionItem(orientation="horizontal", movable=False)
            self._middle = pg.InfiniteLine(angle=0, movable=False)
            for item in (self._band, self._middle):
                item.setZValue(-20)
                self.view.addItem(item)
            self._paint_band()
        self._band.setVisible(band is not None)
        self._middle.setVisible(band is not None)
        if band is not None:
            self._band.setRegion((band.low, band.high))
            self._middle.setPos(band.middle)

    def set_limit(self, limit: Limit | None) -> None:
        """A line at what the device has; None takes it away."""
        if self._limit is not None:
            self._limit.remove()
        self._limit = LimitMark(self.view, limit) if limit is not None else None

    def point_at(self, x: float | None) -> None:
        """The upright line where the values are read; None takes it away."""
        self._cursor.setVisible(x is not None)
        if x is not None:
            self._cursor.setPos(x)

    def restyle(self) -> None:
        """Take the theme's colours and fonts."""
        self.setBackground(theme().color("surface"))
        for axis in self.axes.values():
            axis.setPen(pg.mkPen(theme().color("grid"), width=1))
            axis.setTextPen(theme().color("axis"))
            axis.setTickFont(mono_font())
        self._cursor.setPen(pg.mkPen(theme().color("muted"), width=1))
        self._paint_band()
        if self._limit is not None:
            self._limit.restyle()
        for curve in self.curves.values():
            _paint(curve)

    def _lay_out(self) -> None:
        whole, grid = pg.GraphicsWidget(), QGraphicsGridLayout()
        grid.setContentsMargins(1, 1, 1, 1)
        grid.setSpacing(0)
        for item, place in ((self.view, (0, 1)), (self.axes["left"], (0, 0)), (self.axes["bottom"], (1, 1))):
            grid.addItem(item, *place)
        for axis in self.axes.values():
            axis.linkToView(self.view)
            axis.setZValue(0.5)  # its grid lies above the band and below the curves' marks
        whole.setLayout(grid)
        self.setCentralItem(whole)

    def _prepare_axes(self, axes: Axes) -> None:
        view = self.view
        view.setMouseEnabled(x=True, y=False)
        view.setDefaultPadding(0.02)
        if axes.floor is not None:
            view.setLimits(yMin=axes.floor)
        self.axes["left"].setWidth(56)
        for name, axis in self.axes.items():
            axis.enableAutoSIPrefix(False)
            axis.setStyle(tickLength=0, tickTextOffset=6, maxTickLevel=1 if name == "left" else 0)
            axis.setGrid(255)
        if axes.y_range is not None:
            view.setYRange(*axes.y_range, padding=0)
        if axes.x_range is not None:
            view.setXRange(*axes.x_range, padding=0.01)

    def _paint_band(self) -> None:
        if self._band is None or self._middle is None:
            return
        self._middle.setPen(pg.mkPen(faded(theme().color("accent"), 200), width=1, style=Qt.PenStyle.DotLine))
        self._band.setBrush(faded(theme().color("accent"), 28))
        for line in self._band.lines:
            line.setPen(pg.mkPen(faded(theme().color("accent"), 90), width=1, style=Qt.PenStyle.DashLine))

    def _on_mouse(self, position: QPointF) -> None:
        view = self.view
        if view.sceneBoundingRect().contains(position):
            self.pointer_moved.emit(view.mapSceneToView(position).x())
        else:
            self.pointer_left.emit()

    def leaveEvent(self, event: object) -> None:
        super().leaveEvent(event)
        self.pointer_left.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event)
        else:
            event.ignore()

    def mouseDoubleClickEvent(self, event: object) -> None:
        super().mouseDoubleClickEvent(event)
        self.view.enableAutoRange(x=True, y=True)


def _paint(curve: DrawnCurve) -> None:
    color = curve_color(curve.style)
    curve.item.setPen(pg.mkPen(color, width=1, style=DASHES[curve.style.dash]))
    if curve.style.dots:
        curve.item.setSymbol("o")
        curve.item.setSymbolSize(6)
        curve.item.setSymbolPen(pg.mkPen(color, width=1))
        curve.item.setSymbolBrush(theme().color("surface"))
    curve.bad_item.setPen(pg.mkPen(theme().color("doesnotfit"), width=2))


def _beside(y: Floats, finite: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Floats:
    """Where to mark values that cannot be drawn: at the height of the last finite value before each."""
    if not finite.any():
        return np.zeros(int((~finite).sum()))
    last = np.maximum.accumulate(np.where(finite, np.arange(len(y)), -1))
    last[last < 0] = int(np.argmax(finite))
    heights: Floats = y[last][~finite]
    return heights
