"""Held-out metrics before and after, and every eval in between, as tables."""

from PySide6.QtWidgets import QWidget

from studio.core.events import Evaluated
from studio.core.state import RunSnapshot
from studio.core.units import format_number, format_seconds
from studio.gui.models.records import Column, RecordTable
from studio.gui.models.view import set_widths, stretch, table_view
from studio.gui.screens.live.words import EvalChange, eval_changes
from studio.gui.theme import GRID
from studio.gui.widgets.layout import column
from studio.gui.widgets.notices import EmptyState
from studio.gui.widgets.text import strong

CHANGES: tuple[Column[EvalChange], ...] = (
    Column("Metric", lambda change: change.name),
    Column("Before", lambda change: _text(change.before), numeric=True, tip="At the first eval"),
    Column("Now", lambda change: _text(change.now), numeric=True, tip="At the last eval"),
    Column("Best", lambda change: _text(change.best), numeric=True),
    Column("Change", lambda change: change.change_text, numeric=True, tip="Now against before"),
)


class EvalsView(QWidget):
    """Two tables: what changed, and the history."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._changes = RecordTable(CHANGES, self)
        self._history: RecordTable[Evaluated] = RecordTable((), self)
        self._changes_view = table_view("Metrics before and after", self._changes)
        self._history_view = table_view("Every eval", self._history, sortable=True)
        set_widths(self._changes_view, 24, 14, 14, 14, 24)
        stretch(self._changes_view)
        stretch(self._history_view)
        self._metrics: list[str] = []
        self._empty = EmptyState("chart", "No evals yet", "The first one measures the model before it is tuned.")
        self._tables = QWidget()
        self._tables.setLayout(
            column(
                strong("Before and after"),
                self._changes_view,
                GRID,
                strong("Every eval"),
                self._history_view,
            )
        )
        layout = column(self._empty, self._tables)
        layout.setContentsMargins(0, 2 * GRID, 0, 0)
        self.setLayout(layout)
        self.apply(RunSnapshot())

    def apply(self, snapshot: RunSnapshot) -> None:
        """Take in the evals so far."""
        evals = snapshot.evals
        self._empty.setVisible(not evals)
        self._tables.setVisible(bool(evals))
        if not evals:
            return
        metrics = list(evals[-1].metrics)
        if metrics != self._metrics:
            self._metrics = metrics
            self._history.set_columns(history_columns(metrics))
        self._changes.set_records(eval_changes(evals))
        self._history.set_records(evals)


def history_columns(metrics: list[str]) -> tuple[Column[Evaluated], ...]:
    """Step, one column per metric, and how long the eval took."""
    step: Column[Evaluated] = Column("Step", lambda e: f"{e.step:,}", sort=lambda e: e.step, numeric=True)
    time: Column[Evaluated] = Column(
        "Time", lambda e: format_seconds(e.seconds), sort=lambda e: e.seconds, numeric=True
    )
    return (step, *(_metric_column(name) for name in metrics), time)


def _metric_column(name: str) -> Column[Evaluated]:
    return Column(name, lambda e: _text(e.metrics.get(name)), sort=lambda e: e.metrics.get(name, 0.0), numeric=True)


def _text(value: float | None) -> str:
    return "–" if value is None else format_number(value)
