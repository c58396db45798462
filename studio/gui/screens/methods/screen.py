"""The Methods screen: a gallery with one method in full, methods side by side, and the plugins of others."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QListView, QSplitter, QStackedWidget, QWidget

from studio.core.errors import StudioError
from studio.core.facts import ModelFacts
from studio.gui.backend import Backend
from studio.gui.screens.base import Screen
from studio.gui.screens.methods.broken import BrokenPanel
from studio.gui.screens.methods.cards import EntryDelegate, EntryTable
from studio.gui.screens.methods.comparison import ComparisonView
from studio.gui.screens.methods.counts import Counts
from studio.gui.screens.methods.entries import Entry, arrange, make_entries
from studio.gui.screens.methods.filters import Filters
from studio.gui.screens.methods.panel import MethodPanel
from studio.gui.screens.methods.plugins_view import PluginsView
from studio.gui.screens.methods.target import Target
from studio.gui.settings import remember_splitter
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import boxed, column, row
from studio.gui.widgets.notices import EmptyState, ErrorCard, Progress
from studio.gui.widgets.text import muted, title

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo


@dataclass(frozen=True)
class Found:
    """The methods there are, and what is wrong with the plugins that cannot be used."""

    infos: "tuple[MethodInfo, ...]"
    errors: tuple[StudioError, ...]


class MethodsScreen(Screen):
    """``enter(id)`` selects that method."""

    id = "methods"

    def assemble(self) -> Iterator[None]:
        self.model = EntryTable(self)
        self.panel, self.broken = MethodPanel(self.backend), BrokenPanel(self.backend)
        yield
        self.filters, self.target = Filters(), Target()
        self.counts = Counts(self.backend, self)
        self.error, self.loading = ErrorCard(), Progress()
        self._found = Found((), ())
        self._chosen, self._asked = "", ""  # the method shown, and one to show once it is known
        yield
        yield from self._build()
        self._connect()

    def enter(self, argument: Any = None) -> None:
        if isinstance(argument, str):
            self._asked = argument
            self.pages.setCurrentWidget(self.gallery)
        self.reload()
        run_task(self, self.backend.models, done=self._offer_models, failed=self.error.show_error)

    @cached_property
    def comparison(self) -> ComparisonView:
        """The page of methods side by side, built when it is first wanted."""
        made = ComparisonView()
        made.closed.connect(self._back)
        made.opened.connect(self._open)
        made.noted.connect(self.noted)
        self.pages.addWidget(made)
        return made

    @cached_property
    def plugins(self) -> PluginsView:
        """The page of the plugins of others, built when it is first wanted."""
        made = PluginsView(self.backend)
        made.closed.connect(self._back)
        made.noted.connect(self.noted)
        made.changed.connect(self.reload)
        self.pages.addWidget(made)
        return made

    def reload(self) -> None:
        """Read the plugins again."""
        self.loading.start("Reading the plugins")
        run_task(self, find_methods, self.backend, done=self._show_found, failed=self._not_loaded)

    def selected(self) -> Entry | None:
        rows = self.list.selectionModel().selectedRows()
        return self.model.record(rows[0].row()) if rows else None

    def compare(self) -> None:
        """Show the checked methods side by side, or without any all that the gallery shows."""
        self.pages.setCurrentWidget(self.comparison)
        self._fill_comparison()
        self.comparison.table.setFocus()

    def show_plugins(self, plugin_id: str = "") -> None:
        """Show the plugins of others."""
        self.pages.setCurrentWidget(self.plugins)
        self.plugins.reload(plugin_id)

    def _build(self) -> Iterator[None]:
        self.list = QListView()
        self.list.setAccessibleName("Methods")
        self.list.setModel(self.model)
        self.list.setItemDelegate(EntryDelegate(self.list))
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setUniformItemSizes(True)
        self.list.setMouseTracking(True)
        self.list.setMinimumWidth(42 * GRID)
        self.nothing = EmptyState("search", "No method matches", "Change the search or the chips.", "Clear",
                                  self.filters.clear)  # fmt: skip
        self.empty = EmptyState("methods", "No methods found", "The plugins folder is empty or cannot be read.")
        self.lists, self.details = QStackedWidget(), QStackedWidget()
        for widget in (self.list, self.nothing, self.empty):
            self.lists.addWidget(widget)
        self.details.addWidget(self.panel)
        self.details.addWidget(self.broken)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.lists)
        split.addWidget(self.details)
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 3)
        split.setChildrenCollapsible(False)
        self.details.hide()
        remember_splitter(split, "methods")
        yield
        body = column(self.filters, self.loading, split, self._foot())
        body.setStretch(2, 1)
        self.gallery = boxed(body)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.gallery)
        self.more = button("P&lugins…", self.show_plugins, icon="settings", help="Methods of others: install, check")
        head = row(title("Methods"), None, self.target, GRID, self.more)
        layout = column(head, self.error, self.counts.progress, self.pages, spacing=GRID, margin=2 * GRID)
        layout.setStretch(3, 1)
        self.setLayout(layout)

    def _foot(self) -> QWidget:
        self.count = muted("", wrap=False)
        self.side_by_side = button("", self.compare, icon="compare")
        self.uncheck = button("Cle&ar", self.model.clear_checks, role="quiet", help="Choose none to compare")
        self.use = button("Use in a &new run", self._use, icon="new_run", role="primary")
        return boxed(row(self.count, None, self.uncheck, self.side_by_side, GRID, self.use))

    def _connect(self) -> None:
        self.filters.changed.connect(self._filter)
        self.target.changed.connect(self._retarget)
        self.counts.changed.connect(self._filter)
        self.counts.failed.connect(self.error.show_error)
        self.model.checks_changed.connect(self._show_checked)
        self.list.selectionModel().selectionChanged.connect(lambda *_: self._on_selection())
        self.broken.plugins_wanted.connect(self.show_plugins)

    def _back(self) -> None:
        self.pages.setCurrentWidget(self.gallery)
        self.list.setFocus()

    def _open(self, method_id: str) -> None:
        """Show one method of the comparison, whatever the gallery was narrowed to."""
        self._chosen = method_id
        self.filters.clear()
        self._filter()
        self._back()

    def _not_loaded(self, error: StudioError) -> None:
        self.loading.stop()
        self.error.show_error(error)

    def _show_found(self, found: Found) -> None:
        self.loading.stop()
        self._found = found
        self._chosen, self._asked = self._asked or self._chosen, ""
        self.filters.offer(found.infos)
        self._retarget()

    def _offer_models(self, models: list[ModelFacts]) -> None:
        self.target.offer([facts.name for facts in models])

    def _retarget(self) -> None:
        self.panel.set_target(self.target.model, self.target.budget)
        self.counts.ask(self.target.model, [info.id for info in self._found.infos], self.target.budget)
        self._filter()

    def _filter(self) -> None:
        entries = make_entries(self._found.infos, self._found.errors, self.counts.known)
        found = arrange(entries, self.filters.wanted())
        self.model.set_records(found)
        self.lists.setCurrentWidget(self.list if found else self.nothing if entries else self.empty)
        self.count.setText(
            f"{len(found):,} of {len(entries):,} methods" if len(found) != len(entries) else f"{len(found):,} methods"
        )
        ids = [entry.id for entry in found]
        if found:
            index = self.model.index(ids.index(self._chosen) if self._chosen in ids else 0, 0)
            if index != self.list.currentIndex():
                self.list.setCurrentIndex(index)
                self.list.scrollTo(index, QAbstractItemView.ScrollHint.PositionAtCenter)
        self._on_selection()
        self._show_checked()
        if "comparison" in vars(self):
            self._fill_comparison()

    def _fill_comparison(self) -> None:
        checked = self.model.checked
        known = {entry.id: entry for entry in make_entries(self._found.infos, (), self.counts.known)}
        chosen = [known[key] for key in checked if key in known] or self.model.records()
        self.comparison.show_entries(chosen, self.target.words())

    def _show_checked(self) -> None:
        checked = len(self.model.checked)
        self.side_by_side.setText(f"&Compare {checked}" if checked else "&Compare all shown")
        self.side_by_side.setEnabled(self.model.rowCount() > 0)
        self.uncheck.setVisible(checked > 0)

    def _on_selection(self) -> None:
        entry = self.selected()
        self.details.setVisible(entry is not None)
        self.use.setEnabled(entry is not None and entry.info is not None)
        if entry is None:
            return
        self._chosen = entry.id
        self.details.setCurrentWidget(self.panel if entry.info else self.broken)
        if entry.info is None:
            self.broken.show_entry(entry)
        elif entry.id != self.panel.method_id:
            self.panel.show_method(entry.info)

    def _use(self) -> None:
        placement = self.panel.placement()
        if placement:
            budget = {"budget": self.target.budget} if self.target.budget else {}
            self.navigate.emit("new_run", {"method": {"placements": [placement], **budget}})


def find_methods(backend: Backend) -> Found:
    """All methods and all broken plugins, read in one background task."""
    return Found(tuple(backend.methods()), tuple(backend.broken_methods()))
