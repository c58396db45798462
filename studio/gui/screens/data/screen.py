"""The Data screen: list, look into, map, add by dialog or drop, remove."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QStackedWidget, QWidget

from studio.core.errors import Cancelled, StudioError
from studio.core.facts import DataFacts, ModelFacts
from studio.gui.backend import Backend
from studio.gui.models.records import RecordTable
from studio.gui.models.view import Dispensable, set_widths, stretch, table_view
from studio.gui.screens.base import Screen
from studio.gui.screens.data.panel import DataPanel
from studio.gui.screens.data.tables import DATA_COLUMNS
from studio.gui.settings import remember_splitter
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import EmptyState, ErrorCard, ProblemNotices, Progress
from studio.gui.widgets.questions import ask, choose_file, choose_folder
from studio.gui.widgets.search import SearchField
from studio.gui.widgets.text import title

FILES = "Datasets (*.jsonl *.json *.csv *.tsv *.parquet *.arrow *.txt *.md *.gz);;All files (*)"


class DataScreen(Screen):
    """``enter(name)`` selects that dataset."""

    id = "data"

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(backend, parent)
        self.model = RecordTable(DATA_COLUMNS, self)
        self.panel = DataPanel(backend, backend.formats())
        self.panel.updated.connect(lambda _: self.reload())
        self.error, self.loading, self.progress = ErrorCard(), Progress(), Progress()
        self.problems = ProblemNotices()
        self._all: list[DataFacts] = []
        self._chosen = ""
        self._shown: DataFacts | None = None
        self.setAcceptDrops(True)
        self._build()

    def enter(self, argument: Any = None) -> None:
        if isinstance(argument, str):
            self._chosen = argument
        self.loading.start("Reading the library")
        self.reload()
        run_task(self, self.backend.models, done=self._offer_models, failed=self.error.show_error)

    def reload(self) -> None:
        """Read the library again."""
        run_task(self, self.backend.datasets, done=self._show, failed=self._not_loaded)
        run_task(self, self.backend.dataset_problems, done=self.problems.show_problems, failed=self.error.show_error)

    def add(self, path: str) -> None:
        """Read a file or folder into the library."""
        self.error.hide()
        task = run_task(
            self,
            self.backend.add_dataset,
            Path(path),
            done=self._added,
            failed=self._not_added,
            progress=self.progress.report,
        )
        self.progress.start("Reading the dataset", task)
        self._allow_adding(False)

    def selected(self) -> DataFacts | None:
        rows = self.table.selectionModel().selectedRows()
        return self.model.record(rows[0].row()) if rows else None

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.search = SearchField("Search datasets")
        self.search.setMinimumWidth(32 * GRID)
        self.search.searched.connect(lambda _: self._filter())
        self.table = table_view("Datasets", self.model, sortable=True)
        set_widths(self.table, 20, 7, 17)
        stretch(self.table)
        Dispensable(self.table, 2, 1)
        self.table.setMinimumWidth(self.table.fontMetrics().averageCharWidth() * 36)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._on_selection())
        self.empty = EmptyState(
            "data",
            "No datasets yet",
            "Add a JSONL, CSV, Parquet or text file, or drop one here. The file itself stays as it is.",
            "Add file…",
            self._ask_file,
        )
        self.nothing = EmptyState("search", "No dataset matches", "Change the search.", "Clear", self.search.clear)
        self.lists = QStackedWidget()
        for widget in (self.table, self.empty, self.nothing):
            self.lists.addWidget(widget)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.lists)
        split.addWidget(self.panel)
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 5)
        split.setChildrenCollapsible(False)
        self.panel.hide()
        remember_splitter(split, "data")
        head = row(title("Data"), None, self.search)
        layout = column(
            head, self.error, self.problems, self.loading, self.progress, split, self._foot(), margin=2 * GRID
        )
        layout.setStretch(5, 1)
        self.setLayout(layout)

    def _foot(self) -> QHBoxLayout:
        self.remove = button("Rem&ove…", self._ask_remove, icon="trash")
        self.use = button("&Use in a new run", self._use, icon="new_run", role="primary")
        self.adders = (
            button("Add &file…", self._ask_file, icon="file"),
            button("Add fo&lder…", self._ask_folder, icon="folder"),
        )
        return row(*self.adders, None, self.remove, self.use)

    # -- the list ------------------------------------------------------------------------------------------------

    def _offer_models(self, models: list[ModelFacts]) -> None:
        self.panel.offer_models([facts.name for facts in models])

    def _not_loaded(self, error: StudioError) -> None:
        self.loading.stop()
        self.error.show_error(error)

    def _show(self, datasets: list[DataFacts]) -> None:
        self.loading.stop()
        self._all = datasets
        self._filter()

    def _filter(self) -> None:
        words = self.search.text().casefold().split()
        found = [facts for facts in self._all if all(word in _searched(facts) for word in words)]
        self.model.set_records(found)
        self.lists.setCurrentWidget(self.table if found else self.nothing if self._all else self.empty)
        names = [facts.name for facts in self.model.records()]
        if found:
            self.table.selectRow(names.index(self._chosen) if self._chosen in names else 0)
        self._on_selection()

    def _on_selection(self) -> None:
        facts = self.selected()
        self.panel.setVisible(facts is not None)
        for made in (self.remove, self.use):
            made.setEnabled(facts is not None)
        if facts is None:
            self._shown = None
        elif facts != self._shown:
            self._shown = facts
            self._chosen = facts.name
            self.panel.show_data(facts)

    # -- adding and removing -------------------------------------------------------------------------------------

    def _allow_adding(self, allowed: bool) -> None:
        """One at a time: the progress shown belongs to one."""
        for made in self.adders:
            made.setEnabled(allowed)

    def _added(self, facts: DataFacts) -> None:
        self.progress.stop()
        self._allow_adding(True)
        self._chosen = facts.name
        self.noted.emit(f"{facts.name}: {facts.rows:,} rows are in the library")
        self.reload()

    def _not_added(self, error: StudioError) -> None:
        self.progress.stop()
        self._allow_adding(True)
        if isinstance(error, Cancelled):
            self.noted.emit("Cancelled")
        else:
            self.error.show_error(error)

    def _ask_file(self) -> None:
        choose_file(self, "Add a dataset", FILES, self.add)

    def _ask_folder(self) -> None:
        choose_folder(self, "Add a dataset folder", self.add)

    def _ask_remove(self) -> None:
        facts = self.selected()
        if facts is None:
            return
        name = facts.name
        ask(
            self,
            "Remove this dataset?",
            f"Remove “{name}” from the library?",
            [("Remove", lambda: self._remove(name))],
            informative="The studio's copy of its rows is deleted; the file it came from stays.",
        )

    def _remove(self, name: str) -> None:
        run_task(self, self.backend.remove_dataset, name, done=lambda _: self.reload(), failed=self.error.show_error)

    def _use(self) -> None:
        facts = self.selected()
        if facts is not None:
            self.navigate.emit("new_run", {"data": {"source": f"library:{facts.name}"}})

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths and self.adders[0].isEnabled():
            event.acceptProposedAction()
            self.add(paths[0])


def _searched(facts: DataFacts) -> str:
    return f"{facts.name} {facts.format} {facts.license} {' '.join(facts.columns)}".casefold()
