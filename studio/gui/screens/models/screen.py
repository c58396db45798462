"""The Models screen: list, inspect, add from disk or hub, remove."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QWidget

from studio.core.errors import Cancelled, StudioError
from studio.core.facts import ModelFacts
from studio.gui.backend import Backend
from studio.gui.models.records import RecordTable
from studio.gui.models.view import Dispensable, set_widths, stretch, table_view
from studio.gui.screens.base import Screen
from studio.gui.screens.models.hub_card import HubCard
from studio.gui.screens.models.panel import ModelPanel
from studio.gui.screens.models.tables import MODEL_COLUMNS
from studio.gui.settings import remember_splitter
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import EmptyState, ErrorCard, ProblemNotices, Progress
from studio.gui.widgets.questions import ask, choose_file, choose_folder
from studio.gui.widgets.search import SearchField
from studio.gui.widgets.text import title


class ModelsScreen(Screen):
    """``enter(name)`` selects that model."""

    id = "models"

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(backend, parent)
        self.model = RecordTable(MODEL_COLUMNS, self)
        self.panel = ModelPanel(backend)
        self.error, self.hub = ErrorCard(), HubCard()
        self.problems = ProblemNotices()
        self.loading, self.progress = Progress(), Progress()
        self._all: list[ModelFacts] = []
        self._chosen = ""
        self.setAcceptDrops(True)
        self._build()

    def enter(self, argument: Any = None) -> None:
        if isinstance(argument, str):
            self._chosen = argument
        self.loading.start("Reading the library")
        self.reload()

    def reload(self) -> None:
        """Read the library again."""
        run_task(self, self.backend.models, done=self._show, failed=self._not_loaded)
        run_task(self, self.backend.model_problems, done=self.problems.show_problems, failed=self.error.show_error)

    def add(self, path: str) -> None:
        """Add a model folder or a GGUF file."""
        self._fetch("Adding the model", self.backend.add_model, Path(path))

    def download(self, repo: str, revision: str) -> None:
        """Download ``ORG/NAME`` from the hub."""
        self._fetch(f"Downloading {repo}", self.backend.download_model, repo, revision or None)

    def selected(self) -> ModelFacts | None:
        rows = self.table.selectionModel().selectedRows()
        return self.model.record(rows[0].row()) if rows else None

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.search = SearchField("Search models")
        self.search.setMinimumWidth(32 * GRID)
        self.search.searched.connect(lambda _: self._filter())
        self.table = table_view("Models", self.model, sortable=True)
        set_widths(self.table, 20, 9, 10, 9)
        stretch(self.table)
        Dispensable(self.table, 1, 2)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._on_selection())
        self.empty = EmptyState(
            "models",
            "No models yet",
            "Add a folder with safetensors weights, a GGUF file, or download one from the hub.",
            "Add folder…",
            self._ask_folder,
        )
        self.nothing = EmptyState("search", "No model matches", "Change the search.", "Clear", self.search.clear)
        self.lists = QStackedWidget()
        for widget in (self.table, self.empty, self.nothing):
            self.lists.addWidget(widget)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.lists)
        split.addWidget(self.panel)
        split.setStretchFactor(0, 4)
        split.setStretchFactor(1, 5)
        split.setChildrenCollapsible(False)
        self.panel.hide()
        remember_splitter(split, "models")
        self.hub.hide()
        self.hub.wanted.connect(self.download)
        head = row(title("Models"), None, self.search)
        parts = (head, self.error, self.problems, self.loading, self.progress, self.hub, split, self._foot())
        layout = column(*parts, margin=2 * GRID)
        layout.setStretch(6, 1)
        self.setLayout(layout)

    def _foot(self) -> Any:
        self.remove = button("Re&move…", self._ask_remove, icon="trash")
        self.use = button("&Use in a new run", self._use, icon="new_run", role="primary")
        self.adders = (
            button("Add &folder…", self._ask_folder, icon="folder"),
            button("Add &GGUF…", self._ask_gguf, icon="file"),
            button("&Download…", lambda: self.hub.setVisible(not self.hub.isVisible()), icon="download"),
        )
        return row(*self.adders, None, self.remove, self.use)

    # -- the list ------------------------------------------------------------------------------------------------

    def _show(self, models: list[ModelFacts]) -> None:
        self.loading.stop()
        self._all = models
        self._filter()

    def _not_loaded(self, error: StudioError) -> None:
        self.loading.stop()
        self.error.show_error(error)

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
        if facts is not None:
            self._chosen = facts.name
            self.panel.show_model(facts)

    # -- adding and removing -------------------------------------------------------------------------------------

    def _fetch(self, phase: str, function: Callable[..., Any], *args: Any) -> None:
        self.error.hide()
        task = run_task(
            self, function, *args, done=self._fetched, failed=self._not_fetched, progress=self.progress.report
        )
        self.progress.start(phase, task)
        self._allow_adding(False)

    def _allow_adding(self, allowed: bool) -> None:
        """One at a time: the progress shown belongs to one."""
        for made in (*self.adders, self.hub):
            made.setEnabled(allowed)

    def _fetched(self, facts: ModelFacts) -> None:
        self.progress.stop()
        self._allow_adding(True)
        self.hub.hide()
        self._chosen = facts.name
        self.noted.emit(f"{facts.name} is in the library")
        self.reload()

    def _not_fetched(self, error: StudioError) -> None:
        self.progress.stop()
        self._allow_adding(True)
        if isinstance(error, Cancelled):
            self.noted.emit("Cancelled")
        else:
            self.error.show_error(error)

    def _ask_folder(self) -> None:
        choose_folder(self, "Add a model folder", self.add)

    def _ask_gguf(self) -> None:
        choose_file(self, "Add a GGUF file", "GGUF models (*.gguf)", self.add)

    def _ask_remove(self) -> None:
        facts = self.selected()
        if facts is None:
            return
        name = facts.name
        ask(
            self,
            "Remove this model?",
            f"Remove “{name}” from the library?",
            [("Remove", lambda: self._remove(name))],
            informative="Files that the library copied are deleted; a folder it only refers to stays where it is.",
        )

    def _remove(self, name: str) -> None:
        run_task(self, self.backend.remove_model, name, done=lambda _: self.reload(), failed=self.error.show_error)

    def _use(self) -> None:
        facts = self.selected()
        if facts is not None:
            self.navigate.emit("new_run", {"model": {"source": f"library:{facts.name}"}})

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths and self.adders[0].isEnabled():
            event.acceptProposedAction()
            self.add(paths[0])


def _searched(facts: ModelFacts) -> str:
    return f"{facts.name} {facts.architecture} {facts.kind} {facts.license}".casefold()
