"""The Data screen: list, look into, map, add by dialog or drop, remove."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QStackedWidget

from studio.core.errors import StudioError
from studio.core.facts import DataFacts, ModelFacts
from studio.gui.models.records import RecordTable
from studio.gui.models.view import Dispensable, set_widths, stretch, table_view
from studio.gui.screens.data.files import DATA_FILES
from studio.gui.screens.data.first_rows import FirstRows
from studio.gui.screens.data.panel import DataPanel
from studio.gui.screens.data.tables import DATA_COLUMNS
from studio.gui.screens.library import LibraryScreen
from studio.gui.settings import remember_splitter
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import EmptyState
from studio.gui.widgets.questions import ask, choose_file, choose_folder
from studio.gui.widgets.search import SearchField
from studio.gui.widgets.text import title

if TYPE_CHECKING:
    from studio.datasets.peek import Peek


class DataScreen(LibraryScreen):
    """``enter(name)`` selects that dataset."""

    id = "data"
    panel: DataPanel

    def assemble(self) -> Iterator[None]:
        yield from super().assemble()
        self.model = RecordTable(DATA_COLUMNS, self)
        self.panel = DataPanel(self.backend, self.backend.formats())
        self.panel.updated.connect(lambda _: self.reload())
        self.panel.mended.connect(self._fetched)
        self.first = FirstRows()
        self._shown: DataFacts | None = None
        yield
        self._build()

    def enter(self, argument: Any = None) -> None:
        super().enter(argument)
        run_task(self, self.backend.models, done=self._offer_models, failed=self.error.show_error)

    def reload(self) -> None:
        """Read the library again."""
        run_task(self, self.backend.datasets, done=self.show_library, failed=self.not_loaded)
        run_task(self, self.backend.dataset_problems, done=self.problems.show_problems, failed=self.error.show_error)

    def add(self, path: str) -> None:
        """Read a file or folder into the library; its first rows are shown meanwhile."""
        self.fetch("Reading the dataset", self.backend.add_dataset, Path(path))
        run_task(self, self.backend.peek_dataset, Path(path), done=self._show_first, failed=_told_by_reading)

    def describe(self, facts: DataFacts | None) -> None:
        self.first.hide()
        if facts is not None and facts != self._shown:  # the same entry again keeps what is being edited
            self.panel.show_data(facts)
        self._shown = facts

    def searched(self, facts: DataFacts) -> str:
        return f"{facts.name} {facts.format} {facts.license} {' '.join(facts.columns)}"

    def added(self, facts: DataFacts) -> str:
        return f"{facts.name}: {facts.rows:,} rows are in the library"

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.search = SearchField("Search datasets")
        self.search.setMinimumWidth(32 * GRID)
        self.search.searched.connect(lambda _: self.filter())
        self.table = table_view("Datasets", self.model, sortable=True)
        set_widths(self.table, 20, 7, 17)
        stretch(self.table)
        Dispensable(self.table, 2, 1)
        self.table.setMinimumWidth(self.table.fontMetrics().averageCharWidth() * 36)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self.on_selection())
        self.empty = EmptyState(
            "data",
            "No datasets yet",
            "Add a JSONL, CSV, Parquet, SQLite, text or zip file, or drop one here. The file itself stays as it is.",
            "Add file…",
            self._ask_file,
        )
        self.nothing = EmptyState("search", "No dataset matches", "Change the search.", "Clear", self.search.clear)
        self.lists = QStackedWidget()
        for widget in (self.table, self.empty, self.nothing):
            self.lists.addWidget(widget)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.lists)
        for side in (self.panel, self.first):
            split.addWidget(side)
        for place, share in enumerate((2, 5, 5)):
            split.setStretchFactor(place, share)
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

    def _offer_models(self, models: list[ModelFacts]) -> None:
        self.panel.offer_models([facts.name for facts in models])

    def _ask_file(self) -> None:
        choose_file(self, "Add a dataset", DATA_FILES, self.add)

    def _ask_folder(self) -> None:
        choose_folder(self, "Add a dataset folder", self.add)

    def _show_first(self, peek: "Peek") -> None:
        """What is being read in, in the place of what was selected; once it is there, it is selected itself."""
        if self.is_adding:
            self.panel.hide()
            self.first.show_peek(peek)

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


def _told_by_reading(_: StudioError) -> None:
    """Reading the whole file fails of the same, and says so."""
