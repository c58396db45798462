"""The Methods screen: a searchable gallery, and one method in full."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QListView, QSplitter, QStackedWidget, QWidget

from studio.core.errors import StudioError
from studio.core.facts import ModelFacts
from studio.gui.backend import Backend
from studio.gui.models.records import RecordTable
from studio.gui.screens.base import Screen
from studio.gui.screens.methods.cards import MethodDelegate, matches, method_columns
from studio.gui.screens.methods.panel import MethodPanel
from studio.gui.settings import remember_splitter
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import EmptyState, ErrorCard, ProblemNotices, Progress
from studio.gui.widgets.search import SearchField
from studio.gui.widgets.text import muted, title

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo


class MethodsScreen(Screen):
    """``enter(id)`` selects that method."""

    id = "methods"

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(backend, parent)
        self.model: RecordTable[MethodInfo] = RecordTable(method_columns(), self)
        self.panel = MethodPanel(backend)
        self.error, self.loading = ErrorCard(), Progress()
        self.problems = ProblemNotices()
        self._all: list[MethodInfo] = []
        self._chosen = ""
        self._build()

    def enter(self, argument: Any = None) -> None:
        if isinstance(argument, str):
            self._chosen = argument
        self.loading.start("Reading the plugins")
        run_task(self, self.backend.methods, done=self._show, failed=self._not_loaded)
        run_task(self, self.backend.method_problems, done=self.problems.show_problems, failed=self.error.show_error)
        run_task(self, self.backend.models, done=self._offer_models, failed=self.error.show_error)

    def selected(self) -> "MethodInfo | None":
        rows = self.list.selectionModel().selectedRows()
        return self.model.record(rows[0].row()) if rows else None

    def _build(self) -> None:
        self.search = SearchField("Search methods, papers, tags")
        self.search.setMinimumWidth(32 * GRID)
        self.search.searched.connect(lambda _: self._filter())
        self.list = QListView()
        self.list.setAccessibleName("Methods")
        self.list.setModel(self.model)
        self.list.setItemDelegate(MethodDelegate(self.list))
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setMouseTracking(True)
        self.list.setMinimumWidth(34 * GRID)
        self.list.selectionModel().selectionChanged.connect(lambda *_: self._on_selection())
        self.nothing = EmptyState("search", "No method matches", "Change the search.", "Clear", self.search.clear)
        self.empty = EmptyState("methods", "No methods found", "The plugins folder is empty or cannot be read.")
        self.lists = QStackedWidget()
        for widget in (self.list, self.nothing, self.empty):
            self.lists.addWidget(widget)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.lists)
        split.addWidget(self.panel)
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 5)
        split.setChildrenCollapsible(False)
        self.panel.hide()
        remember_splitter(split, "methods")
        self.count = muted("", wrap=False)
        self.use = button("&Use in a new run", self._use, icon="new_run", role="primary")
        head, foot = row(title("Methods"), None, self.search), row(self.count, None, self.use)
        layout = column(head, self.error, self.problems, self.loading, split, foot, margin=2 * GRID)
        layout.setStretch(4, 1)
        self.setLayout(layout)

    def _not_loaded(self, error: StudioError) -> None:
        self.loading.stop()
        self.error.show_error(error)

    def _show(self, methods: "list[MethodInfo]") -> None:
        self.loading.stop()
        self._all = methods
        self._filter()

    def _offer_models(self, models: list[ModelFacts]) -> None:
        self.panel.offer_models([facts.name for facts in models])

    def _filter(self) -> None:
        found = [info for info in self._all if matches(info, self.search.text())]
        self.model.set_records(found)
        self.lists.setCurrentWidget(self.list if found else self.nothing if self._all else self.empty)
        self.count.setText(
            f"{len(found):,} of {len(self._all):,} methods" if found != self._all else f"{len(found):,} methods"
        )
        ids = [info.id for info in found]
        if found:
            place = ids.index(self._chosen) if self._chosen in ids else 0
            self.list.setCurrentIndex(self.model.index(place, 0))
        self._on_selection()

    def _on_selection(self) -> None:
        info = self.selected()
        self.use.setEnabled(info is not None)
        self.panel.setVisible(info is not None)
        if info is not None and info.id != self.panel.method_id:
            self._chosen = info.id
            self.panel.show_method(info)

    def _use(self) -> None:
        placement = self.panel.placement()
        if placement:
            self.navigate.emit("new_run", {"method": {"placements": [placement]}})
