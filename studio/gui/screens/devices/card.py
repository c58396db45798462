"""One device on screen: memory bar, figures, and the last five minutes."""

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from studio.core.facts import DeviceSample
from studio.core.units import GIB
from studio.gui.plots.curve_plot import CurvePlot
from studio.gui.plots.series import Series
from studio.gui.plots.style import CurveStyle
from studio.gui.screens.devices.readings import (
    Reading,
    degrees_text,
    facts_text,
    memory_text,
    others_text,
    percent_text,
    watts_text,
)
from studio.gui.theme import GRID, theme
from studio.gui.widgets.layout import Card, column, row
from studio.gui.widgets.text import Label, muted, number, strong

WINDOW_S = 300


class MemoryBar(QWidget):
    """Used memory as a share of the whole, with the processes that hold it apart."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._parts: tuple[float, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Memory in use")
        theme().watch(self, MemoryBar.update)

    def set_sample(self, sample: DeviceSample) -> None:
        total = max(1, sample.total_bytes)
        held = sorted((bytes_ / total for _, bytes_ in sample.processes), reverse=True)
        parts = (*held, max(0.0, sample.used_bytes / total - sum(held)))
        if parts != self._parts:
            self._parts = parts
            self.setAccessibleDescription(memory_text(sample))
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(20 * GRID, 2 * GRID)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(theme().color("line"))
        painter.setBrush(theme().color("sunken"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        x = 1.0
        for place, share in enumerate(self._parts):
            width = share * (self.width() - 2)
            color = theme().color("accent")
            color.setAlpha(255 if place % 2 == 0 else 170)
            painter.fillRect(QRectF(x, 1, max(0.0, width - 1), self.height() - 2), color)
            x += width


class DeviceCard(Card):
    """Follows one device."""

    def __init__(self, reading: Reading, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        facts = reading.facts
        self.setAccessibleName(f"{facts.name} ({facts.id})")
        self._bar = MemoryBar()
        self._memory, self._others, self._problem = number(""), muted(""), Label("", role="error", wrap=True)
        self._figures = {name: number("–", large=True) for name in ("utilisation", "power", "temperature")}
        self._start: float | None = None
        self._series = {name: Series() for name in ("memory", "load", "power", "heat")}
        self._plots = {
            "memory": _plot("Memory", "GiB", 2, top=facts.total_bytes / GIB),
            "load": _plot("Utilisation", "%", 0, top=100),
            "power": _plot("Power", "W", 1, top=facts.power_limit_w),
            "heat": _plot("Temperature", "°C", 4, top=100),
        }
        self._build(facts.name, facts.id, facts_text(facts))
        self.show_reading(reading)

    def show_reading(self, reading: Reading) -> None:
        """Take in a new reading."""
        self._problem.setText(reading.problem)
        self._problem.setVisible(bool(reading.problem))
        sample = reading.sample
        if sample is None:
            return
        self._bar.set_sample(sample)
        self._memory.setText(memory_text(sample))
        self._others.setText(others_text(sample, reading.held_by_runs))
        self._figures["utilisation"].setText(percent_text(sample.utilization))
        self._figures["power"].setText(watts_text(sample.power_w))
        self._figures["temperature"].setText(degrees_text(sample.temperature_c))
        self._extend(sample)

    def _extend(self, sample: DeviceSample) -> None:
        if self._start is None:
            self._start = sample.time
        load = None if sample.utilization is None else 100 * sample.utilization
        values = {
            "memory": sample.used_bytes / GIB,
            "load": load,
            "power": sample.power_w,
            "heat": sample.temperature_c,
        }
        for name, value in values.items():
            series, plot = self._series[name], self._plots[name]
            if value is not None:
                series.extend([sample.time - self._start], [value])
                series.keep_last(WINDOW_S)
                plot.set_data("main", series.x - series.x[-1], series.y)
            if plot.isHidden() != (not len(series)):
                plot.setHidden(not len(series))

    def _build(self, name: str, device_id: str, facts: str) -> None:
        head = row(strong(name), muted(device_id, wrap=False), None)
        figures = row(spacing=4 * GRID)
        for caption, label in self._figures.items():
            label.setAccessibleName(caption)
            figures.addLayout(_captioned(label, caption))
        bar = column(self._memory, self._bar, self._others, spacing=4)
        middle = row(spacing=4 * GRID)
        middle.addLayout(bar, 1)
        middle.addLayout(figures)
        plots = row()
        for plot in self._plots.values():
            plot.setFixedHeight(18 * GRID)
            plot.hide()
            plots.addWidget(plot, 1)
        for part in (head, middle, plots):
            self.body.addLayout(part)
        self.body.insertWidget(1, muted(facts))
        self.body.insertWidget(2, self._problem)


def _captioned(label: Label, caption: str) -> QVBoxLayout:
    return column(label, muted(caption, wrap=False), None, spacing=0)


def _plot(title: str, unit: str, series: int, *, top: float | None) -> CurvePlot:
    plot = CurvePlot(
        title,
        x_title="",
        x_text=lambda seconds: f"{-seconds:.0f} s ago",
        unit=unit,
        value_text=lambda value: f"{value:.3g}",
        floor=None if top else 0,
        y_range=(0, top) if top else None,
        x_range=(-WINDOW_S, 0),
        over_time=True,
    )
    plot.add_curve("main", title.lower(), CurveStyle(series))
    return plot
