"""The Models screen: list, inspect, add from disk or hub, remove."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QStackedWidget

from studio.core.facts import ModelFacts
from studio.gui.models.records import RecordTable
from studio.gui.models.view import Dispensable, set_widths, stretch, table_view
from studio.gui.screens.library import LibraryScreen
from studio.gui.screens.models.hub_card import HubCard
from studio.gui.screens.models.panel import ModelPanel
from studio.gui.screens.models.tables import MODEL_COLUMNS
from studio.gui.settings import remember_splitter
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import EmptyState
from studio.gui.widgets.questions import ask, choose_file, choose_folder
from studio.gui.widgets.search import SearchField
from studio.gui.widgets.text import title


class ModelsScreen(LibraryScreen):
    """``enter(name)`` selects that model."""

    id = "models"
    panel: ModelPanel

    def assemble(self) -> Iterator[None]:
        yield from super().assemble()
        self.model = RecordTable(MODEL_COLUMNS, self)
        self.panel = ModelPanel(self.backend)
        self.hub = HubCard()
        yield
        yield from self._build()

    def reload(self) -> None:
        """Read the library again."""
        run_task(self, self.backend.models, done=self.show_library, failed=self.not_loaded)
        run_task(self, self.backend.model_problems, done=self.problems.show_problems, failed=self.error.show_error)

    def add(self, path: str) -> None:
        """Add a model folder or a GGUF file."""
        self.fetch("Adding the model", self.backend.add_model, Path(path))

    def download(self, repo: str, revision: str) -> None:
        """Download ``ORG/NAME`` from the hub."""
        self.fetch(f"Downloading {repo}", self.backend.download_model, repo, revision or None)

    def describe(self, facts: ModelFacts | None) -> None:
        if facts is not None:
            self.panel.show_model(facts)

    def searched(self, facts: ModelFacts) -> str:
        return f"{facts.name} {facts.architecture} {facts.kind} {facts.license}"

    def added(self, facts: ModelFacts) -> str:
        self.hub.hide()
        return super().added(facts)

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self) -> Iterator[None]:
        self.search = SearchField("Search models")
        self.search.setMinimumWidth(32 * GRID)
        self.search.searched.connect(lambda _: self.filter())
        self.table = table_view("Models", self.model, sortable=True)
        set_widths(self.table, 20, 9, 10, 9)
        stretch(self.table)
        Dispensable(self.table, 1, 2)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self.on_selection())
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
        yield
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
        buttons = (
            button("Add &folder…", self._ask_folder, icon="folder"),
            button("Add &GGUF…", self._ask_gguf, icon="file"),
            button("&Download…", lambda: self.hub.setVisible(not self.hub.isVisible()), icon="download"),
        )
        self.adders = (*buttons, self.hub)
        return row(*buttons, None, self.remove, self.use)

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
