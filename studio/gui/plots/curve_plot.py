"""The one plot widget: thin lines on a quiet grid, a readout under the pointer, values as a table on request."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QStackedLayout, QTableView, QToolButton, QVBoxLayout, QWidget

from studio.core.units import format_number
from studio.gui.fonts import body_font
from studio.gui.icons import set_icon
from studio.gui.models.series import SeriesTable
from studio.gui.plots.legend import Legend, LegendEntry
from studio.gui.plots.queue import plot_queue
from studio.gui.plots.series import Floats
from studio.gui.plots.style import DASHES, Band, CurveStyle, Limit, curve_color
from studio.gui.theme import theme

if TYPE_CHECKING:
    from studio.gui.plots.canvas import Canvas

_EMPTY = np.empty(0)


@dataclass
class _Curve:
    title: str
    style: CurveStyle
    x: Floats = field(default_factory=lambda: _EMPTY)
    y: Floats = field(default_factory=lambda: _EMPTY)
    dirty: bool = True


class CurvePlot(QWidget):
    """Curves over one x axis. Data may be set at any time; it is drawn a moment later, while the plot is on screen.

    The drawing itself (``canvas``) is made when the plot is first seen, and the table when it is asked for.
    """

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
        over_time: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.title = title
        self.canvas: Canvas | None = None
        self._table: QTableView | None = None
        self._x_title, self._unit = x_title, unit
        self._value_text = value_text
        self._x_text = x_text or (lambda x: f"{x:,.0f}")
        self._axes = {"floor": floor, "y_range": y_range, "x_range": x_range, "over_time": over_time}
        self._curves: dict[str, _Curve] = {}
        self._band: Band | None = None
        self._limit: Limit | None = None
        self._note, self._pointer = "", False
        self._build()
        self._restyle()
        theme().watch(self, CurvePlot._restyle)

    # -- what is shown -------------------------------------------------------------------------------------------

    def add_curve(self, key: str, title: str, style: CurveStyle) -> None:
        """A curve named ``title``; later ones are drawn above."""
        self._curves[key] = _Curve(title, style)
        if self.canvas is not None:
            self.canvas.add_curve(key, style)

    def remove_curves(self) -> None:
        if self.canvas is not None:
            self.canvas.remove_curves()
        self._curves.clear()
        self._refresh_readout()

    def set_data(self, key: str, x: Floats, y: Floats) -> None:
        """New values of a curve; the arrays are kept, not copied, until the next call."""
        curve = self._curves[key]
        curve.x, curve.y, curve.dirty = x, y, True
        if self.isVisible():
            plot_queue().request(self)

    def clear(self) -> None:
        """Empty every curve; the curves themselves stay."""
        for key in self._curves:
            self.set_data(key, _EMPTY, _EMPTY)

    def set_band(self, band: Band | None) -> None:
        """A forecast drawn behind the curves; None takes it away."""
        self._band = band
        if self.canvas is not None:
            self.canvas.set_band(band)

    def set_limit(self, limit: Limit | None) -> None:
        """A line that the curves cannot pass; None takes it away."""
        if limit != self._limit:
            self._limit = limit
            if self.canvas is not None:
                self.canvas.set_limit(limit)
            self._refresh_readout()

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

    def draw(self) -> None:
        """Bring the drawing up to date; the queue of plots calls this once the plotting library is there."""
        first = self._stack.currentWidget() is self._blank
        canvas = self.canvas or self.make_canvas()
        for key, curve in self._curves.items():
            if curve.dirty:
                canvas.draw(key, curve.x, curve.y)
                curve.dirty = False
        canvas.settle()
        if first:
            self._toggle_table(self._table_button.isChecked())
        if self._table_button.isChecked():
            self._show_values()
        self._refresh_readout()

    def make_canvas(self) -> "Canvas":
        """What is drawn on, out of sight until something is."""
        from studio.gui.plots.canvas import Axes, Canvas

        canvas = self.canvas = Canvas(Axes(**self._axes))  # type: ignore[arg-type]
        canvas.setAccessibleName(f"Plot of {self.title}")
        for key, curve in self._curves.items():
            canvas.add_curve(key, curve.style)
            curve.dirty = True
        if self._band is not None:
            canvas.set_band(self._band)
        if self._limit is not None:
            canvas.set_limit(self._limit)
        canvas.pointer_moved.connect(self._follow_pointer)
        canvas.pointer_left.connect(self._leave_pointer)
        self._stack.addWidget(canvas)
        return canvas

    def _build(self) -> None:
        self._heading = QLabel(self.title)
        self._readout = QLabel()
        self._readout.setProperty("role", "muted")
        self._readout.setTextFormat(Qt.TextFormat.PlainText)
        self._legend = Legend()
        self._blank = QWidget()
        layout = QVBoxLayout(self)
        self._stack = QStackedLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(self._build_header())
        layout.addLayout(self._stack, 1)
        self._stack.addWidget(self._blank)  # once the layout has a widget: alone it would be shown as a window
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

    def _restyle(self) -> None:
        self._heading.setFont(body_font(strong=True))
        self._readout.setFont(body_font())
        if self.canvas is not None:
            self.canvas.restyle()
        self._refresh_readout()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        plot_queue().request(self)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._leave_pointer()

    def _toggle_table(self, shown: bool) -> None:
        self._stack.setCurrentWidget(self._show_values() if shown else self.canvas or self._blank)

    def _show_values(self) -> QTableView:
        """The table, with the values of now."""
        if self._table is None:
            self._table, self._values = QTableView(), SeriesTable(self._x_title, self)
            self._table.setAccessibleName(f"{self.title}: values")
            self._table.setModel(self._values)
            self._table.verticalHeader().hide()
            self._stack.addWidget(self._table)
        self._values.set_curves(self.values())
        return self._table

    # -- reading values ------------------------------------------------------------------------------------------

    def _follow_pointer(self, x: float) -> None:
        longest = max(self._curves.values(), key=lambda curve: len(curve.x), default=None)
        if self.canvas is None or longest is None or not len(longest.x):
            return
        nearest = float(longest.x[_nearest(longest.x, x)])
        self._pointer = True
        self.canvas.point_at(nearest)
        self._readout.setText(f"{self._x_title} {self._x_text(nearest)}".strip())
        self._legend.set_entries(self._entries(nearest))

    def _leave_pointer(self) -> None:
        self._pointer = False
        if self.canvas is not None:
            self.canvas.point_at(None)
        self._refresh_readout()

    def _refresh_readout(self) -> None:
        """The newest values, and how many could not be drawn; the pointer's values while it is here."""
        if self._pointer:
            return
        bad = max((int((~np.isfinite(curve.y)).sum()) for curve in self._curves.values()), default=0)
        words = "   ".join(part for part in (self._note, f"{bad:,} not finite" if bad else "") if part)
        if words != self._readout.text():
            self._readout.setText(words)
        entries = self._entries(None)
        self._legend.set_entries(entries)
        limit = self._limit.words if self._limit is not None else ""
        spoken = ", ".join([*(f"{entry.title} {entry.value}" for entry in entries), words, limit])
        if spoken != self.accessibleDescription():
            self.setAccessibleDescription(spoken)

    def _entries(self, x: float | None) -> tuple[LegendEntry, ...]:
        return tuple(self._entry(curve, x) for curve in self._curves.values() if curve.style.listed)

    def _entry(self, curve: _Curve, x: float | None) -> LegendEntry:
        value = ""
        if len(curve.x):
            value = self._worded(float(curve.y[-1 if x is None else _nearest(curve.x, x)]))
        title = curve.title if len(self._curves) > 1 else ""
        return LegendEntry(title, value, curve_color(curve.style), DASHES[curve.style.dash], curve.style.dots)

    def _worded(self, value: float) -> str:
        if not np.isfinite(value):
            return "NaN" if np.isnan(value) else "infinite"
        return f"{self._value_text(value)}{f' {self._unit}' if self._unit else ''}"


def _nearest(xs: Floats, x: float) -> int:
    right = int(np.clip(np.searchsorted(xs, x), 1, max(len(xs) - 1, 1)))
    if len(xs) == 1:
        return 0
    return right if xs[right] - x < x - xs[right - 1] else right - 1
