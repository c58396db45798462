"""What was planned: every automatic choice with its reason, and the forecast against what was measured."""

from dataclasses import dataclass

from PySide6.QtWidgets import QWidget

from studio.core.forecast import Estimate
from studio.core.plan import Auto, Plan
from studio.core.spec import BITS
from studio.core.state import RunSnapshot
from studio.core.units import format_bytes, format_count, format_seconds, format_watt_hours
from studio.gui.models.records import Column, RecordTable
from studio.gui.models.view import set_widths, table_view
from studio.gui.screens.live.words import is_shared
from studio.gui.theme import GRID
from studio.gui.widgets.layout import column
from studio.gui.widgets.text import muted, strong


@dataclass(frozen=True)
class Comparison:
    """One quantity as foreseen and as measured, in words."""

    name: str
    forecast: str
    measured: str


COMPARISONS: tuple[Column[Comparison], ...] = (
    Column("", lambda line: line.name),
    Column("Forecast", lambda line: line.forecast),
    Column("Measured", lambda line: line.measured),
)
AUTOS: tuple[Column[Auto], ...] = (
    Column("Setting", lambda auto: auto.field),
    Column("Chosen", lambda auto: str(auto.value)),
    Column("Why", lambda auto: auto.reason),
)


class PlanView(QWidget):
    """Tables of the plan's choices and of forecast against measurement."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._estimate: Estimate | None = None
        self._summary = muted("")
        self._autos = RecordTable(AUTOS, self)
        self._comparisons = RecordTable(COMPARISONS, self)
        autos = table_view("Automatic choices", self._autos)
        comparisons = table_view("Forecast and measurement", self._comparisons)
        set_widths(autos, 22, 18)
        set_widths(comparisons, 22, 34)
        layout = column(
            self._summary, strong("Forecast and measurement"), comparisons, GRID, strong("Automatic choices"), autos
        )
        layout.setContentsMargins(0, 2 * GRID, 0, 0)
        layout.setStretch(2, 2)
        layout.setStretch(5, 3)
        self.setLayout(layout)

    def open(self, plan: Plan | None, estimate: Estimate | None) -> None:
        """Show another run's plan."""
        self._estimate = estimate
        self._summary.setText(summary(plan) if plan else "This run has no plan.")
        self._autos.set_records(plan.autos if plan else ())
        self._comparisons.set_records(())

    def apply(self, snapshot: RunSnapshot) -> None:
        """Take in what has been measured so far."""
        self._comparisons.set_records(comparisons(self._estimate, snapshot))


def summary(plan: Plan) -> str:
    """One paragraph: what trains, on what, how."""
    placements = "; ".join(f"{p.use} at {len(p.sites)} places ({p.where})" for p in plan.placements)
    held = "" if plan.quantization == "none" else f" over weights in {BITS[plan.quantization]} bits"
    share = plan.trainable / plan.total if plan.total else 0
    return (
        f"{placements}. {plan.trainable:,} of {format_count(plan.total)} parameters train ({share:.2%}). "
        f"{plan.train_rows:,} rows to train and {plan.eval_rows:,} to evaluate on, up to {plan.max_length:,} tokens "
        f"each. {plan.steps:,} steps of {plan.effective_batch} rows ({plan.micro_batch} at a time) in "
        f"{plan.precision}{held} on {plan.device}, learning rate {plan.learning_rate:g}, {plan.schedule}."
    )


def comparisons(estimate: Estimate | None, snapshot: RunSnapshot) -> list[Comparison]:
    """Memory, time and energy side by side; a dash where there is no figure."""
    measured = snapshot.measured
    rows = [
        ("Peak memory", _memory(estimate), format_bytes(measured.peak_bytes) if measured else "–"),
        ("Time", _time(estimate), format_seconds(measured.seconds) if measured else "–"),
        (
            "Time per step",
            f"{estimate.time.seconds_per_step:.2f} s" if estimate else "–",
            f"{measured.seconds_per_step:.2f} s" if measured else "–",
        ),
        ("Energy", _energy(estimate), _metered(snapshot)),
    ]
    return [Comparison(*texts) for texts in rows]


def _memory(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    memory = estimate.memory
    return f"{format_bytes(memory.total_bytes)}, {format_bytes(memory.low_bytes)} – {format_bytes(memory.high_bytes)}"


def _time(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    time = estimate.time
    return f"{format_seconds(time.seconds)}, {format_seconds(time.low)} – {format_seconds(time.high)}"


def _energy(estimate: Estimate | None) -> str:
    return _watt_hours(estimate.energy.watt_hours if estimate else None)


def _metered(snapshot: RunSnapshot) -> str:
    """``12 Wh by energy counter, other programs included``."""
    measured = snapshot.measured
    if measured is None or measured.watt_hours is None:
        return "–"
    meter = f" by {measured.energy_method}" if measured.energy_method else ""
    return (
        f"{format_watt_hours(measured.watt_hours)}{meter}{', other programs included' if is_shared(snapshot) else ''}"
    )


def _watt_hours(value: float | None) -> str:
    return "–" if value is None else format_watt_hours(value)
