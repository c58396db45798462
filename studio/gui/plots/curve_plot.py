"""The one plot widget: thin lines on a quiet grid, a readout under the pointer, values as a table on request."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QHideEvent, QShowEvent, QWheelEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QStackedLayout,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.core.units import format_number
from studio.gui.fonts import body_font, mono_font
from studio.gui.icons import set_icon
from studio.gui.models.series import SeriesTable
from studio.gui.plots.legend import Legend, LegendEntry
from studio.gui.plots.series import Floats
from studio.gui.theme import theme

DOWNSAMPLE_FROM = 20_000
DASHES = {"solid": Qt.PenStyle.SolidLine, "dash": Qt.PenStyle.DashLine, "dot": Qt.PenStyle.DotLine}
_EMPTY = np.empty(0)


@dataclass(frozen=True)
class CurveStyle:
    """How one curve looks: which of the theme's series colours, and dash or dots so that colour is never alone."""

    series: int = 0
    dash: str = "solid"
    faint: bool = False
    dots: bool = False


@dataclass
class _Curve:
    title: str
    style: CurveStyle
    item: pg.PlotDataItem
    bad_item: pg.ScatterPlotItem
    x: Floats = field(default_factory=lambda: _EMPTY)
    y: Floats = field(default_factory=lambda: _EMPTY)
    dirty: bool = False


class CurvePlot(QWidget):
    """Curves over one x axis. Data may be set at any time; it is drawn only while the plot is on screen."""

    def __init__(
        self,
        title: str,
        *,
        x_title: str = "step",
        unit: str = "",
        value_text: Callable[[float], str] = format_number,
        x_text: Callable[[float], str] | None = None,
        floor: float | None = None,
        y_range: tuple[float, float] | None = None,
        x_range: tuple[float, float] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.title = title
        self._x_title, self._unit, self._floor = x_title, unit, floor
        self._value_text = value_text
        self._x_text = x_text or (lambda x: f"{x:,.0f}")
        self._curves: dict[str, _Curve] = {}
        self._band: pg.LinearRegionItem | None = None
        self._note = ""
        self._build()
        if y_range is not None:
            self._plot.setYRange(*y_range, padding=0)
        if x_range is not None:
            self._plot.setXRange(*x_range, padding=0.01)
        self._restyle()
        theme().watch(self, self._restyle)

    # -- what is shown -------------------------------------------------------------------------------------------

    def add_curve(self, key: str, title: str, style: CurveStyle) -> None:
        """A curve named ``title``; later ones are drawn above."""
        item = pg.PlotDataItem()
        bad_item = pg.ScatterPlotItem(symbol="x", size=9, pxMode=True)
        self._plot.addItem(item)
        self._plot.addItem(bad_item, ignoreBounds=True)
        self._curves[key] = _Curve(title, style, item, bad_item)
        self._paint_curve(self._curves[key])

    def remove_curves(self) -> None:
        for curve in self._curves.values():
            self._plot.removeItem(curve.item)
            self._plot.removeItem(curve.bad_item)
        self._curves.clear()
        self._refresh_readout()

    def set_data(self, key: str, x: Floats, y: Floats) -> None:
        """New values of a curve; the arrays are kept, not copied, until the next call."""
        curve = self._curves[key]
        curve.x, curve.y, curve.dirty = x, y, True
        if self.isVisible():
            self._draw(curve)
            self._refresh_readout()
            if self._table_button.isChecked():
                self._model.set_curves(self.values())

    def clear(self) -> None:
        """Empty every curve; the curves themselves stay."""
        for key in self._curves:
            self.set_data(key, _EMPTY, _EMPTY)

    def set_band(self, band: tuple[float, float] | None) -> None:
        """A horizontal band, such as a forecast's range, drawn behind the curves; None takes it away."""
        if self._band is None:
            self._band = pg.LinearRegionItem(orientation="horizontal", movable=False)
            self._band.setZValue(-20)
            self._plot.addItem(self._band)
            self._restyle()
        self._band.setVisible(band is not None)
        if band is not None:
            self._band.setRegion(band)

    def set_title(self, title: str) -> None:
        self.title = title
        self._heading.setText(title)
        self.setAccessibleName(f"Plot of {title}")

    def set_note(self, note: str) -> None:
        """Words beside the title while the pointer is elsewhere ("predicted 1.9-2.4 GiB")."""
        self._note = note
        self._refresh_readout()

    def values(self) -> list[tuple[str, Floats, Floats]]:
        """Every curve's title, x and y, as drawn."""
        return [(curve.title, curve.x, curve.y) for curve in self._curves.values()]

    def show_table(self, shown: bool) -> None:
        """Swap the drawing for its values, or back."""
        self._table_button.setChecked(shown)

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._heading = QLabel(self.title)
        self._readout = QLabel()
        self._readout.setProperty("role", "muted")
        self._legend = Legend()
        self._readout.setTextFormat(Qt.TextFormat.PlainText)
        self._plot = self._build_plot()
        self._table = QTableView()
        self._table.setAccessibleName(f"{self.title}: values")
        self._model = SeriesTable(self._x_title, self)
        self._table.setModel(self._model)
        self._table.verticalHeader().hide()
        self._stack = QStackedLayout()
        self._stack.addWidget(self._plot)
        self._stack.addWidget(self._table)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(self._build_header())
        layout.addLayout(self._stack, 1)
        self.setAccessibleName(f"Plot of {self.title}")

    def _build_header(self) -> QHBoxLayout:
        self._table_button = QToolButton()
        self._table_button.setCheckable(True)
        self._table_button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        set_icon(self._table_button, "table", "muted")
        self._table_button.setAccessibleName(f"{self.title}: show the values as a table")
        self._table_button.setToolTip("Show the values as a table")
        self._table_button.toggled.connect(self._toggle_table)
        header = QHBoxLayout()
        header.setContentsMargins(12, 4, 4, 0)
        header.setSpacing(12)
        header.addWidget(self._heading)
        header.addWidget(self._readout)
        header.addWidget(self._legend, 1)
        header.addWidget(self._table_button)
        return header

    def _build_plot(self) -> "QuietPlot":
        plot = QuietPlot(self._floor)
        plot.setAccessibleName(f"Plot of {self.title}")
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._cursor = pg.InfiniteLine(angle=90, movable=False)
        self._cursor.hide()
        plot.addItem(self._cursor, ignoreBounds=True)
        plot.pointer_moved.connect(self._follow_pointer)
        plot.pointer_left.connect(self._leave_pointer)
        return plot

    def _restyle(self) -> None:
        self._heading.setFont(body_font(strong=True))
        self._readout.setFont(body_font())
        self._plot.restyle()
        self._cursor.setPen(pg.mkPen(theme().color("muted"), width=1))
        if self._band is not None:
            self._band.setBrush(_faded(theme().color("accent"), 28))
            for line in self._band.lines:
                line.setPen(pg.mkPen(_faded(theme().color("accent"), 90), width=1, style=Qt.PenStyle.DashLine))
        for curve in self._curves.values():
            self._paint_curve(curve)
        self._refresh_readout()

    # -- drawing -------------------------------------------------------------------------------------------------

    def _paint_curve(self, curve: _Curve) -> None:
        color = self._color(curve)
        curve.item.setPen(pg.mkPen(color, width=1, style=DASHES[curve.style.dash]))
        if curve.style.dots:
            curve.item.setSymbol("o")
            curve.item.setSymbolSize(6)
            curve.item.setSymbolPen(pg.mkPen(color, width=1))
            curve.item.setSymbolBrush(theme().color("surface"))
        curve.bad_item.setPen(pg.mkPen(theme().color("doesnotfit"), width=2))

    def _color(self, curve: _Curve) -> QColor:
        colors = theme().tokens.series
        color = QColor(colors[curve.style.series % len(colors)])
        return _faded(color, 110) if curve.style.faint else color

    def _draw(self, curve: _Curve) -> None:
        finite = np.isfinite(curve.y)
        many = len(curve.y) > DOWNSAMPLE_FROM
        curve.item.setDownsampling(auto=many, method="peak")
        curve.item.setClipToView(many)
        if finite.all():
            curve.item.setData(curve.x, curve.y, connect="all", skipFiniteCheck=True)
            curve.bad_item.setData([], [])
        else:
            curve.item.setData(curve.x, np.where(finite, curve.y, np.nan), connect="finite", skipFiniteCheck=False)
            curve.bad_item.setData(curve.x[~finite], _beside(curve.y, finite))
        curve.dirty = False

    def _draw_stale(self) -> None:
        for curve in self._curves.values():
            if curve.dirty:
                self._draw(curve)
        self._refresh_readout()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._draw_stale()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._leave_pointer()

    # -- reading values ------------------------------------------------------------------------------------------

    def _follow_pointer(self, x: float) -> None:
        longest = max(self._curves.values(), key=lambda curve: len(curve.x), default=None)
        if longest is None or not len(longest.x):
            return
        nearest = float(longest.x[_nearest(longest.x, x)])
        self._cursor.setPos(nearest)
        self._cursor.show()
        self._readout.setText(f"{self._x_title} {self._x_text(nearest)}".strip())
        self._legend.set_entries(tuple(self._entry(curve, nearest) for curve in self._curves.values()))

    def _leave_pointer(self) -> None:
        self._cursor.hide()
        self._refresh_readout()

    def _refresh_readout(self) -> None:
        """The newest values, and how many could not be drawn; the pointer's values while it is here."""
        if self._cursor.isVisible():
            return
        bad = max((int((~np.isfinite(curve.y)).sum()) for curve in self._curves.values()), default=0)
        words = "   ".join(part for part in (self._note, f"{bad:,} not finite" if bad else "") if part)
        if words != self._readout.text():
            self._readout.setText(words)
        entries = tuple(self._entry(curve, None) for curve in self._curves.values())
        self._legend.set_entries(entries)
        spoken = ", ".join([*(f"{entry.title} {entry.value}" for entry in entries), words])
        if spoken != self.accessibleDescription():
            self.setAccessibleDescription(spoken)

    def _entry(self, curve: _Curve, x: float | None) -> LegendEntry:
        value = ""
        if len(curve.x):
            value = self._worded(float(curve.y[-1 if x is None else _nearest(curve.x, x)]))
        title = curve.title if len(self._curves) > 1 else ""
        return LegendEntry(title, value, self._color(curve), DASHES[curve.style.dash], curve.style.dots)

    def _worded(self, value: float) -> str:
        if not np.isfinite(value):
            return "NaN" if np.isnan(value) else "infinite"
        return f"{self._value_text(value)}{f' {self._unit}' if self._unit else ''}"

    def _toggle_table(self, shown: bool) -> None:
        if shown:
            self._model.set_curves(self.values())
        self._stack.setCurrentWidget(self._table if shown else self._plot)


class QuietPlot(pg.PlotWidget):  # type: ignore[misc]  # pyqtgraph has no types
    """pyqtgraph's view without its menus, and with a wheel that scrolls the page unless Ctrl is held."""

    pointer_moved = Signal(float)
    pointer_left = Signal()

    def __init__(self, floor: float | None) -> None:
        super().__init__(enableMenu=False)
        self.hideButtons()
        self.setFrameShape(self.Shape.NoFrame)
        self.setAntialiasing(False)
        self.viewport().setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view = self.getViewBox()
        view.setMouseEnabled(x=True, y=False)
        view.setDefaultPadding(0.02)
        if floor is not None:
            view.setLimits(yMin=floor)
        self.getAxis("left").setWidth(56)
        for name in ("left", "bottom"):
            axis = self.getAxis(name)
            axis.enableAutoSIPrefix(False)
            axis.setStyle(tickLength=0, tickTextOffset=6, maxTickLevel=1 if name == "left" else 0)
            axis.setGrid(255)
        self.scene().sigMouseMoved.connect(self._on_mouse)

    def restyle(self) -> None:
        """Take the theme's colours and fonts."""
        self.setBackground(theme().color("surface"))
        for name in ("left", "bottom"):
            axis = self.getAxis(name)
            axis.setPen(pg.mkPen(theme().color("grid"), width=1))
            axis.setTextPen(theme().color("axis"))
            axis.setTickFont(mono_font())

    def _on_mouse(self, position: QPointF) -> None:
        view = self.getViewBox()
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
        self.getViewBox().enableAutoRange(x=True, y=True)


def _faded(color: QColor, alpha: int) -> QColor:
    faded = QColor(color)
    faded.setAlpha(alpha)
    return faded


def _nearest(xs: Floats, x: float) -> int:
    right = int(np.clip(np.searchsorted(xs, x), 1, max(len(xs) - 1, 1)))
    if len(xs) == 1:
        return 0
    return right if xs[right] - x < x - xs[right - 1] else right - 1


def _beside(y: Floats, finite: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Floats:
    """Where to mark values that cannot be drawn: at the height of the last finite value before each."""
    if not finite.any():
        return np.zeros(int((~finite).sum()))
    last = np.maximum.accumulate(np.where(finite, np.arange(len(y)), -1))
    last[last < 0] = int(np.argmax(finite))
    heights: Floats = y[last][~finite]
    return heights
