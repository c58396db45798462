"""The Runs screen: find runs, look at one, compare several, put them away."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from PySide6.QtCore import QEvent, QItemSelection, QItemSelectionModel, QObject, QPoint, Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QPushButton, QSplitter, QStackedWidget, QWidget

from studio.catalog.rows import RunRow
from studio.core.errors import StudioError
from studio.gui.icons import icon
from studio.gui.models.pages import PagedTable
from studio.gui.models.view import set_widths, stretch, table_view
from studio.gui.screens.base import Screen
from studio.gui.screens.runs.actions import ACTIONS
from studio.gui.screens.runs.columns import RUN_COLUMNS, shown_columns
from studio.gui.screens.runs.commands import RunCommands
from studio.gui.screens.runs.comparison import ComparisonView
from studio.gui.screens.runs.panel import RunPanel
from studio.gui.screens.runs.query import RunsQuery
from studio.gui.settings import remember_splitter
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button, chip
from studio.gui.widgets.flow import FlowLayout
from studio.gui.widgets.layout import boxed, column, row
from studio.gui.widgets.notices import EmptyState, ErrorCard
from studio.gui.widgets.search import SearchField
from studio.gui.widgets.sign_cells import SignDelegate
from studio.gui.widgets.signs import STATES
from studio.gui.widgets.text import muted, title

NAME_COLUMN, CREATED_COLUMN = 1, 10
STATE_CHIPS = {
    "Active": ("starting", "running", "stopping"),
    "Paused": ("paused",),
    "Completed": ("completed",),
    "Stopped": ("stopped",),
    "Failed": ("failed", "crashed"),
}


class RunsScreen(Screen):
    """The catalog."""

    id = "runs"

    def assemble(self) -> Iterator[None]:
        self.model: PagedTable[RunRow] = PagedTable([made.column for made in RUN_COLUMNS], self)
        self.query = RunsQuery(self.backend, self.model, self)
        yield
        self.panel = RunPanel()
        yield
        self.comparison = ComparisonView(self.backend)
        yield
        self.error = ErrorCard()
        self._selected: tuple[str, ...] = ()
        yield from self._build()
        yield
        self.commands = RunCommands(self, self.backend, self.query)
        self._connect()
        self._offer()

    def enter(self, argument: Any = None) -> None:
        self.error.hide()
        self.query.start()
        self.table.setFocus()

    def leave(self) -> None:
        self.panel.save_notes()
        self.query.stop()

    def selected(self) -> list[RunRow]:
        """The selected runs whose rows have arrived, from top to bottom."""
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        return [run for run in map(self.model.record, rows) if run is not None]

    def act(self, action_id: str) -> None:
        """Do a command of ``ACTIONS`` with the selection, if it allows it."""
        runs = self.selected()
        action = next(action for action in ACTIONS if action.id == action_id)
        if action.allows(runs):
            self.commands.do(action_id, runs)

    def compare(self, runs: list[RunRow]) -> None:
        """Show the runs side by side."""
        self.comparison.open(runs)
        self.pages.setCurrentWidget(self.comparison)

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self) -> Iterator[None]:
        self.table = table_view("Runs", self.model, sortable=True, multiple=True)
        self.table.horizontalHeader().setSortIndicator(CREATED_COLUMN, Qt.SortOrder.DescendingOrder)
        self.table.setItemDelegateForColumn(0, SignDelegate(STATES, self.table))
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        set_widths(self.table, *(made.characters for made in RUN_COLUMNS))
        stretch(self.table, NAME_COLUMN)
        yield
        self.empty = EmptyState("runs", "No runs yet", "Every run you start is kept here.", "New run", self._new_run)
        self.nothing = EmptyState("search", "No run matches", "Change the search or the filters.", "Clear", self.clear)
        self.lists = QStackedWidget()
        for widget in (self.table, self.empty, self.nothing):
            self.lists.addWidget(widget)
        self.split = QSplitter(Qt.Orientation.Horizontal)
        self.split.addWidget(self.lists)
        self.split.addWidget(self.panel)
        self.split.setStretchFactor(0, 1)
        self.split.setChildrenCollapsible(False)
        self.panel.hide()
        remember_splitter(self.split, "runs")
        yield
        parts = column(self._head(), self.error, self.split, self._foot(), margin=2 * GRID)
        parts.setStretch(2, 1)
        listing = boxed(parts)
        self.pages = QStackedWidget()
        self.pages.addWidget(listing)
        self.pages.addWidget(self.comparison)
        self.setLayout(column(self.pages))

    def _head(self) -> QWidget:
        self.search = SearchField("Search names, notes, tags, models, errors")
        self.search.setMinimumWidth(40 * GRID)
        self.chips = {word: chip(word, name=f"Only {word.lower()} runs") for word in STATE_CHIPS}
        self.starred = chip("Starred", name="Only starred runs")
        self.trashed = chip("Trash", name="Show the trash")
        for made in (*self.chips.values(), self.starred, self.trashed):
            made.toggled.connect(lambda _: self._filter())
        filters = QWidget()
        flow = FlowLayout(filters)
        for made in (*self.chips.values(), self.starred, self.trashed):
            flow.addWidget(made)
        return boxed(column(row(title("Runs"), None, self.search), filters))

    def _foot(self) -> QWidget:
        self.count = muted("", wrap=False)
        self.buttons: dict[str, QPushButton] = {}
        foot = row(self.count, None)
        for action in reversed(ACTIONS):
            role = "primary" if action.id == "open" else action.role
            made = button(action.text, partial(self.act, action.id), icon=action.icon, role=role)
            self.buttons[action.id] = made
            foot.addWidget(made)
        return boxed(foot)

    def _connect(self) -> None:
        self.search.searched.connect(lambda text: self.query.change(text=text))
        self.query.restarted.connect(self._restarted)
        self.query.refreshed.connect(self._reselect)
        self.query.failed.connect(self.error.show_error)
        self.table.selectionModel().selectionChanged.connect(self._on_selection)
        self.model.dataChanged.connect(lambda *_: self._show_panel())
        self.table.doubleClicked.connect(lambda _: self.act("open"))
        self.table.customContextMenuRequested.connect(self._menu)
        self.comparison.closed.connect(lambda: self.pages.setCurrentIndex(0))
        self.panel.noted.connect(self.commands.note)
        self.panel.renamed.connect(self.commands.rename)
        self.panel.tagged.connect(self.commands.tag)
        self.table.viewport().installEventFilter(self)
        for action in ACTIONS:
            made = QAction(action.text.replace("&", ""), self.table)
            made.setShortcut(QKeySequence(action.shortcut))
            made.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            made.triggered.connect(lambda *_, id_=action.id: self.act(id_))
            self.table.addAction(made)

    # -- filter and selection ------------------------------------------------------------------------------------

    def clear(self) -> None:
        """No search, no filters."""
        self.search.clear()
        for made in (*self.chips.values(), self.starred, self.trashed):
            made.setChecked(False)

    def _filter(self) -> None:
        states = tuple(state for word, made in self.chips.items() if made.isChecked() for state in STATE_CHIPS[word])
        self.query.change(states=states, starred=self.starred.isChecked(), trashed=self.trashed.isChecked())

    def _restarted(self) -> None:
        self._reselect()
        self._offer()

    def _reselect(self) -> None:
        """Runs keep their selection when others push them to another row."""
        wanted = QItemSelection()
        for run_id in self._selected:
            place = self.model.find(run_id, lambda run: run.id)
            if place is not None:
                wanted.select(self.model.index(place, 0), self.model.index(place, len(RUN_COLUMNS) - 1))
        current = {index.row() for index in self.table.selectionModel().selectedRows()}
        if {index.row() for index in wanted.indexes()} != current:
            flags = QItemSelectionModel.SelectionFlag
            self.table.selectionModel().select(wanted, flags.ClearAndSelect | flags.Rows)
        self._show_list()
        self._show_panel()

    def _on_selection(self, *_: object) -> None:
        self._selected = tuple(run.id for run in self.selected())
        self._show_panel()
        self._offer()

    def _show_panel(self) -> None:
        runs = self.selected()
        if len(runs) == 1:
            self.panel.show_run(runs[0])
        if self.panel.isVisible() != (len(runs) == 1):
            self.panel.setVisible(len(runs) == 1)

    def _show_list(self) -> None:
        count = self.model.rowCount()
        filtered = self.query.filter != type(self.query.filter)()
        self.lists.setCurrentWidget(self.table if count else self.nothing if filtered else self.empty)
        self._count_text()

    def _count_text(self) -> None:
        count, chosen = self.model.rowCount(), len(self._selected)
        runs = f"{count:,} run{'s' if count != 1 else ''}"
        text = f"{runs}, {chosen} selected" if chosen > 1 else runs
        if text != self.count.text():
            self.count.setText(text)

    def _offer(self) -> None:
        """Show the commands that the selection allows."""
        runs = self.selected()
        for action in ACTIONS:
            allowed = action.allows(runs)
            made = self.buttons[action.id]
            made.setEnabled(allowed)
            made.setVisible(allowed or action.id == "open")
        self._count_text()

    def _menu(self, at: QPoint) -> None:
        runs = self.selected()
        menu = QMenu(self.table)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for action in ACTIONS:
            if action.allows(runs):
                entry = menu.addAction(icon(action.icon), action.text)
                entry.setShortcut(QKeySequence(action.shortcut))
                entry.triggered.connect(lambda *_, id_=action.id: self.act(id_))
        if not menu.isEmpty():
            menu.popup(self.table.viewport().mapToGlobal(at))

    def _fit_columns(self) -> None:
        """As many columns as fit, so that nothing scrolls sideways."""
        advance = self.table.fontMetrics().averageCharWidth()
        shown = shown_columns(self.table.viewport().width() // max(1, advance))
        for index in range(len(RUN_COLUMNS)):
            if self.table.isColumnHidden(index) != (index not in shown):
                self.table.setColumnHidden(index, index not in shown)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and watched is self.table.viewport():
            self._fit_columns()
        return False

    def _new_run(self) -> None:
        self.navigate.emit("new_run", None)

    def show_error(self, error: StudioError) -> None:
        """An error of one of the commands."""
        self.error.show_error(error)
