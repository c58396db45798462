"""The plots of one run: loss, learning rate, gradient norm, speed, memory, power; only visible ones are drawn."""

from collections.abc import Callable, Iterator, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QSlider, QVBoxLayout, QWidget

from studio.core.events import EpochEnded
from studio.core.forecast import Estimate
from studio.core.state import RunSnapshot
from studio.core.units import GIB, format_bytes, format_number, format_seconds
from studio.gui.plots.curve_plot import CurvePlot
from studio.gui.plots.series import Series
from studio.gui.plots.style import Band, CurveStyle, Limit
from studio.gui.screens.live import words
from studio.gui.screens.live.curves import RunCurves
from studio.gui.theme import GRID
from studio.gui.widgets.layout import boxed, column, row
from studio.gui.widgets.notices import WarningLine
from studio.gui.widgets.text import muted

SMOOTHING_STEPS = 100
DEFAULT_SMOOTHING = 0.9
MEMORY_CURVES = ("process_bytes", "allocated_bytes", "used_bytes")  # the first that the device reports is shown
SHARED = "the energy includes that of other programs"
NEAR = 0.8  # of the device's memory: from there on its limit is always in the picture


class RunCharts(QWidget):
    """The grid of plots, empty until ``assemble`` is through.

    Signals: ``smoothing_changed`` with the new weight, 0 to 0.99.
    """

    smoothing_changed = Signal(float)

    def assemble(self) -> Iterator[None]:
        """Make the parts; the window may answer between two of them."""
        self._estimate: Estimate | None = None
        self.loss = CurvePlot("Loss")
        self.loss.add_curve("raw", "raw", CurveStyle(0, faint=True))
        self.loss.add_curve("smooth", "smoothed", CurveStyle(0))
        self.loss.add_curve("eval", "held out", CurveStyle(1, dash="dash", dots=True))
        self.rate = _plot("Learning rate", 2)
        self.norm = _plot("Gradient norm", 3, floor=0)
        yield
        self.speed = _plot("Speed", 6, floor=0, unit="tokens/s", value_text=lambda value: f"{value:,.0f}")
        self.memory = _plot("Memory", 2, floor=0, unit="GiB", over_time=True, value_text=lambda value: f"{value:.2f}")
        self.power = _plot("Power", 1, floor=0, unit="W", over_time=True, value_text=lambda value: f"{value:.0f}")
        self.heat = _plot("Temperature", 4, unit="°C", over_time=True, value_text=lambda value: f"{value:.0f}")
        self.plots = (self.loss, self.rate, self.norm, self.speed, self.memory, self.power, self.heat)
        # no wrapping: a label whose height depends on its width would stretch the plots past the window
        self._no_meter = muted("This device has no power meter.", wrap=False)
        self.off_forecast, self.shared = WarningLine(), WarningLine(SHARED)
        yield
        self._build()
        self.set_meters(power=False, temperature=False)

    def clear(self) -> None:
        """Forget the run shown before."""
        for plot in self.plots:
            plot.clear()
        self.set_meters(power=False, temperature=False)

    def set_estimate(self, estimate: Estimate | None) -> None:
        """Draw the forecast's band behind the memory that is really used."""
        self._estimate = estimate
        if estimate is None:
            self.memory.set_band(None)
            self.memory.set_note("")
            return
        low, middle, high = (
            bytes_ / GIB
            for bytes_ in (estimate.memory.low_bytes, estimate.memory.total_bytes, estimate.memory.high_bytes)
        )
        self.memory.set_band(Band(low, middle, high))
        self.memory.set_note(f"predicted {low:.2f} – {high:.2f}")

    def show_snapshot(self, snapshot: RunSnapshot, curves: RunCurves, epochs: Sequence[EpochEnded]) -> None:
        """Say how the run stands against its forecast and its device, and what its energy figures rest on."""
        name, series = memory_series(curves)
        peak = float(series.y.max(initial=0))
        self._show_limit(snapshot, peak)
        self._compare_memory(snapshot, 0 if name == "used_bytes" else peak)
        meter = words.meter_text(snapshot, counter=bool(len(curves.get("energy_j"))))
        self.power.set_note(words.epoch_text(epochs) or meter)
        self.power.setToolTip(f"Energy by {meter}")
        self.shared.setVisible(words.is_shared(snapshot))

    def _show_limit(self, snapshot: RunSnapshot, peak: float) -> None:
        total = snapshot.device.sample.get("total_bytes") if snapshot.device is not None else None
        high = max(peak, self._estimate.memory.high_bytes if self._estimate else 0)
        limit = Limit(total / GIB, f"limit {format_bytes(total)}", near=high > NEAR * total) if total else None
        self.memory.set_limit(limit)

    def _compare_memory(self, snapshot: RunSnapshot, peak: float) -> None:
        measured, said = snapshot.measured, ""
        if self._estimate is not None:
            over = measured is not None and not words.is_live(snapshot.state)
            said = words.off_forecast(self._estimate.memory, measured.peak_bytes if measured else peak, over=over)
        self.off_forecast.show_words(said)

    def apply(self, curves: RunCurves, changed: set[str]) -> None:
        """Show the curves named in ``changed``."""
        if "loss" in changed:
            self.loss.set_data("raw", curves.loss.x, curves.loss.y)
            self.loss.set_data("smooth", curves.smooth_loss.x, curves.smooth_loss.y)
        if "eval" in changed:
            self.loss.set_data("eval", curves.eval_steps, curves.eval_values)
        for name, plot in (
            ("learning_rate", self.rate),
            ("grad_norm", self.norm),
            ("tokens_per_second", self.speed),
            ("power_w", self.power),
            ("temperature_c", self.heat),
        ):
            if name in changed:
                plot.set_data("main", curves.get(name).x, curves.get(name).y)
        name, series = memory_series(curves)
        if name in changed:
            self.memory.set_data("main", series.x, series.y / GIB)
        if changed & {"power_w", "temperature_c"}:
            self.set_meters(power=bool(len(curves.get("power_w"))), temperature=bool(len(curves.get("temperature_c"))))

    def set_meters(self, *, power: bool, temperature: bool) -> None:
        """Hide what the device cannot measure, and say so."""
        self._power_card.setVisible(power)
        self._heat_card.setVisible(temperature)
        self._no_meter.setVisible(not power and not temperature)

    def _build(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, GRID, 0, 0)
        grid.setSpacing(GRID)
        grid.addWidget(_card(self.loss, self._smoothing_row()), 0, 0, 1, 2)
        grid.addLayout(self._device_column(), 0, 2)
        for place, plot in enumerate((self.rate, self.norm, self.speed)):
            grid.addWidget(_card(plot), 1, place)
            grid.setColumnStretch(place, 1)
        grid.setRowStretch(0, 3)
        grid.setRowStretch(1, 2)

    def _smoothing_row(self) -> QWidget:
        label = muted("S&moothing", wrap=False)
        slider = QSlider(Qt.Orientation.Horizontal)
        slider.setRange(0, SMOOTHING_STEPS - 1)
        slider.setValue(round(DEFAULT_SMOOTHING * SMOOTHING_STEPS))
        slider.setFixedWidth(20 * GRID)
        slider.setAccessibleName("Smoothing of the loss curve")
        slider.setToolTip("How smooth the bright curve is; the raw one stays visible")
        slider.valueChanged.connect(lambda value: self.smoothing_changed.emit(value / SMOOTHING_STEPS))
        label.setBuddy(slider)
        line = row(label, slider, None)
        line.setContentsMargins(12, 0, 12, GRID)
        return boxed(line)

    def _device_column(self) -> QVBoxLayout:
        self._power_card, self._heat_card = _card(self.power), _card(self.heat)
        made = column(
            _card(self.memory, self.off_forecast), self._power_card, self._heat_card, self.shared, self._no_meter
        )
        for place, stretch in enumerate((3, 2, 2, 0, 0)):
            made.setStretch(place, stretch)
        return made


def memory_series(curves: RunCurves) -> tuple[str, Series]:
    """The most telling memory curve that the device reports: the trainer's own before the whole device's."""
    for name in MEMORY_CURVES:
        if len(curves.get(name)):
            return name, curves.get(name)
    return "", curves.get("")


def _plot(
    title: str,
    series: int,
    *,
    unit: str = "",
    over_time: bool = False,
    floor: float | None = None,
    value_text: Callable[[float], str] = format_number,
) -> CurvePlot:
    x_title, x_text = ("after", format_seconds) if over_time else ("step", lambda step: f"{step:,.0f}")
    plot = CurvePlot(title, x_title=x_title, x_text=x_text, unit=unit, value_text=value_text, floor=floor,
                     over_time=over_time)  # fmt: skip
    plot.add_curve("main", title.lower(), CurveStyle(series))
    return plot


def _card(*contents: QWidget) -> QFrame:
    card = QFrame()
    card.setProperty("role", "card")
    card.setLayout(column(*contents, spacing=0, margin=1))
    contents[0].setMinimumHeight(14 * GRID - 2)
    return card
