"""Several runs side by side: overlaid curves, what differs in their configuration, their metrics."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QSplitter, QTableView, QTabWidget, QWidget

from studio.catalog.rows import RunRow
from studio.core.units import format_number
from studio.gui.backend import Backend
from studio.gui.models.records import Column, RecordTable
from studio.gui.models.view import set_widths, table_view
from studio.gui.plots.curve_plot import CurvePlot
from studio.gui.plots.series import Floats, Series, Smoothed
from studio.gui.plots.style import CurveStyle
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.text import muted, title

if TYPE_CHECKING:
    from studio.service.run_report import Comparison

MOST_RUNS = 8  # as many as there are curve colours
SMOOTHED_FROM = 30  # points; fewer are shown as they are
DASH_CYCLE = ("solid", "dash", "dot")


@dataclass(frozen=True)
class Line:
    """One line of a comparison table: a name, and one text per run."""

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """A comparison with the curves of one metric."""

    comparison: "Comparison"
    metrics: list[str]
    metric: str
    curves: list[tuple[Floats, Floats]]


class ComparisonView(QWidget):
    """Signals: ``closed`` when the user goes back to the table."""

    closed = Signal()

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._backend = backend
        self._ids: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()
        self.plot = CurvePlot("Loss")
        self.choice = QComboBox()
        self.choice.setAccessibleName("Metric of the curves")
        self.choice.activated.connect(lambda _: self._load(self.choice.currentText()))
        self.metrics: RecordTable[Line] = RecordTable((), self)
        self.config: RecordTable[Line] = RecordTable((), self)
        self.error = ErrorCard()
        self.heading = title("Compare")
        self._build()

    def open(self, runs: list[RunRow]) -> None:
        """Compare these runs."""
        self._ids = tuple(run.id for run in runs[:MOST_RUNS])
        self.error.hide()
        self._load("loss")

    def _load(self, metric: str) -> None:
        run_task(self, load_comparison, self._backend, self._ids, metric, done=self._show, failed=self.error.show_error)

    def _show(self, compared: Compared) -> None:
        if tuple(run.id for run in compared.comparison.runs) != self._ids:
            return
        self._names = distinct_names(compared.comparison.runs)
        self.heading.setText(f"Compare {len(self._names)} runs")
        self.choice.clear()
        self.choice.addItems(compared.metrics)
        self.choice.setCurrentText(compared.metric)
        self._show_curves(compared)
        self._fill(self._metrics_view, self.metrics, "Metric", metric_lines(compared.comparison))
        self._fill(self._config_view, self.config, "Setting", config_lines(compared.comparison))
        same = "" if compared.comparison.config else "Their settings are the same."
        self._same.setText(same)
        self._same.setVisible(bool(same))

    def _show_curves(self, compared: Compared) -> None:
        self.plot.remove_curves()
        self.plot.set_title(compared.metric.replace("_", " ").capitalize())
        for place, (name, (x, y)) in enumerate(zip(self._names, compared.curves, strict=True)):
            noisy = len(x) >= SMOOTHED_FROM
            if noisy:
                self.plot.add_curve(f"{name} raw", f"{name}, raw", CurveStyle(place, faint=True, listed=False))
                self.plot.set_data(f"{name} raw", x, y)
            self.plot.add_curve(name, name, CurveStyle(place, dash=DASH_CYCLE[place % len(DASH_CYCLE)]))
            self.plot.set_data(name, x, smoothed(x, y) if noisy else y)

    def _fill(self, view: QTableView, model: RecordTable[Line], first: str, lines: list[Line]) -> None:
        model.set_columns((Column(first, lambda line: line.name), *(_cell(i, n) for i, n in enumerate(self._names))))
        model.set_records(lines)
        set_widths(view, 30, *([22] * (len(self._names) - 1)))

    def _build(self) -> None:
        self._metrics_view = table_view("Metrics of the compared runs", self.metrics)
        self._config_view = table_view("What differs in the settings", self.config)
        self._same = muted("")
        tables = QTabWidget()
        tables.setAccessibleName("Parts of the comparison")
        tables.addTab(self._config_view, "What &differs")
        tables.addTab(self._metrics_view, "&Metrics")
        label = muted("C&urve", wrap=False)
        label.setBuddy(self.choice)
        back = button("&Back to runs", self.closed.emit, icon="undo")
        card = QFrame()
        card.setProperty("role", "card")
        card.setLayout(column(self.plot, margin=1))
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(card)
        split.addWidget(tables)
        split.setSizes([400, 300])
        split.setChildrenCollapsible(False)
        head = row(self.heading, None, label, self.choice, back)
        layout = column(head, self.error, self._same, split, margin=2 * GRID)
        layout.setStretch(3, 1)
        self.setLayout(layout)


def smoothed(x: Floats, y: Floats) -> Floats:
    """The moving average that the Run screen shows at first."""
    source = Series(len(x))
    source.extend(x, y)
    average = Smoothed(source)
    average.update()
    return average.y


def load_comparison(backend: Backend, run_ids: tuple[str, ...], metric: str) -> Compared:
    """Everything the view shows, read in one background task."""
    comparison = backend.compare_runs(run_ids)
    metrics = sorted({name for run_id in run_ids for name in backend.metric_names(run_id)})
    chosen = metric if metric in metrics else next(iter(metrics), metric)
    return Compared(comparison, metrics, chosen, [backend.curve(run_id, chosen) for run_id in run_ids])


def distinct_names(runs: "tuple[RunRow, ...]") -> tuple[str, ...]:
    """Names of runs; the id's end is added where two share one."""
    names = [run.name for run in runs]
    return tuple(f"{run.name} {run.id[-4:]}" if names.count(run.name) > 1 else run.name for run in runs)


def config_lines(comparison: "Comparison") -> list[Line]:
    return [
        Line(entry.field, tuple(_plain(value) for value in entry.values))
        for entry in comparison.config
        if entry.field != "name"  # the head of each column
    ]


def metric_lines(comparison: "Comparison") -> list[Line]:
    """The last value of each metric, with its lowest in brackets."""
    return [Line(entry.name, tuple(_summary(value) for value in entry.values)) for entry in comparison.metrics]


def _summary(value: dict[str, Any] | None) -> str:
    if value is None or value.get("last") is None:
        return "–"
    lowest = value.get("min")
    low = "" if lowest is None or lowest == value["last"] else f"  (lowest {format_number(lowest)})"
    return f"{format_number(value['last'])}{low}"


def _plain(value: Any) -> str:
    if value is None or value in ({}, []):
        return "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(place: int, name: str) -> Column[Line]:
    return Column(name, lambda line: line.texts[place])
