"""The studio's own forecasts against what finished runs measured: by kind of run, and run by run."""

from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, Signal
from PySide6.QtWidgets import QTableView, QWidget

from studio.core.errors import StudioError
from studio.core.units import format_bytes, format_seconds, format_watt_hours
from studio.gui.models.records import RECORD_ROLE, Column, RecordTable
from studio.gui.models.view import Dispensable, set_widths, stretch, table_view
from studio.gui.theme import theme
from studio.gui.widgets.layout import Card
from studio.gui.widgets.notices import EmptyState, ErrorCard
from studio.gui.widgets.text import muted, strong

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio.service.accuracy import Accuracy, GroupAccuracy, Pair, RunAccuracy

HEADING = "Forecasts against measurements"
NOTE = "What each finished run was foreseen to take, and what it took. A 90% band should hold nine runs in ten."
MOST_ROWS = 8  # on screen at once; longer tables scroll


class AccuracyView(Card):
    """Signals: ``opened(run id)``."""

    opened = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(HEADING, parent)
        self.groups = RecordTable(GROUPS, self)
        self.runs = RecordTable(RUNS, self)
        self._groups_view = table_view("Errors of the forecasts by kind of run", self.groups, sortable=True)
        self._runs_view = table_view("Forecast and measurement of each run", self.runs, sortable=True)
        set_widths(self._groups_view, 10, 28, 10, 16, 12, 7, 9, 10, 9)
        set_widths(self._runs_view, 24, 12, 26, 28, 26)
        stretch(self._groups_view, 1)
        stretch(self._runs_view)
        Dispensable(self._groups_view, 7, 2, 5, 4, column=1, characters=16)
        Dispensable(self._runs_view, 1, 4)
        self._runs_view.activated.connect(self._open)
        self.error = ErrorCard()
        self.empty = EmptyState(
            "chart", "No finished run yet", "After the first one you see here how close its forecast was."
        )
        self._tables = (strong("By kind of run"), self._groups_view, strong("Run by run"), self._runs_view)
        for widget in (muted(NOTE), self.error, self.empty, *self._tables):
            self.body.addWidget(widget)
        self._show_tables(False)
        theme().watch(self, AccuracyView._fit)

    def show_accuracy(self, accuracy: "Accuracy") -> None:
        self.error.hide()
        self.groups.set_records(accuracy.groups)
        self.runs.set_records(accuracy.runs)
        self.empty.setVisible(not accuracy.runs)
        self._show_tables(bool(accuracy.runs))
        self._fit()

    def show_error(self, error: StudioError) -> None:
        self.empty.hide()
        self.error.show_error(error)

    def _fit(self) -> None:
        for view in (self._groups_view, self._runs_view):
            _fit_height(view)

    def _show_tables(self, shown: bool) -> None:
        for widget in self._tables:
            widget.setVisible(shown)

    def _open(self, index: QModelIndex) -> None:
        self.opened.emit(index.data(RECORD_ROLE).run)


def share_text(share: float) -> str:
    """``2.1%``, ``14%``: two significant digits."""
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"


def percent(share: float) -> str:
    """``+4.2%``, ``−12%``: with its sign."""
    return f"{'−' if share < 0 else '+'}{share_text(abs(share))}"


def pair_text(pair: "Pair | None", format_: "Callable[[float], str]") -> str:
    """``2.04 GiB, −3%, inside``: measured, how far from the forecast, and whether its band held it."""
    if pair is None:
        return "–"
    return f"{format_(pair.measured)}, {percent(pair.error)}, {'inside' if pair.inside else 'outside'}"


def _pair_column(
    title: str, pair: "Callable[[RunAccuracy], Pair | None]", format_: "Callable[[float], str]"
) -> "Column[RunAccuracy]":
    def size(run: "RunAccuracy") -> float:
        found = pair(run)
        return abs(found.error) if found is not None else -1.0

    return Column(title, lambda run: pair_text(pair(run), format_), sort=size, numeric=True,
                  tip="Measured, its distance from the forecast, and whether it was inside the 90% band")  # fmt: skip


def _fit_height(view: QTableView) -> None:
    rows = min(max(view.model().rowCount(), 1), MOST_ROWS)
    view.setFixedHeight(
        view.horizontalHeader().sizeHint().height() + rows * view.verticalHeader().defaultSectionSize() + 4
    )


GROUPS: "tuple[Column[GroupAccuracy], ...]" = (
    Column("Forecast", lambda group: group.quantity.capitalize()),
    Column("Device", lambda group: group.device),
    Column("Precision", lambda group: group.precision),
    Column("Method", lambda group: group.method),
    Column("Basis", lambda group: group.basis),
    Column("Runs", lambda group: f"{group.runs:,}", sort=lambda group: group.runs, numeric=True),
    Column("Error", lambda group: share_text(group.median_error), sort=lambda group: group.median_error, numeric=True,
           tip="Half of the runs were closer than this"),
    Column("Leaning", lambda group: percent(group.bias), sort=lambda group: group.bias, numeric=True,
           tip="Above zero: runs took more than was foreseen"),
    Column("Inside", lambda group: f"{group.inside:.0%}", sort=lambda group: group.inside, numeric=True,
           tip="Runs that the 90% band held"),
)  # fmt: skip
RUNS: "tuple[Column[RunAccuracy], ...]" = (
    Column("Run", lambda run: run.name),
    Column("Basis", lambda run: run.basis),
    _pair_column("Memory", lambda run: run.memory, format_bytes),
    _pair_column("Time", lambda run: run.seconds, format_seconds),
    _pair_column("Energy", lambda run: run.watt_hours, format_watt_hours),
)
