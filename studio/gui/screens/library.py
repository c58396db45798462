"""What the Models and Data screens share: a searched list, and adding to it one thing at a time."""

from collections.abc import Callable, Iterator
from typing import Any

from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QPushButton, QStackedWidget, QTableView, QWidget

from studio.core.errors import Cancelled, StudioError
from studio.gui.models.records import RecordTable
from studio.gui.screens.base import Screen
from studio.gui.tasks import run_task
from studio.gui.widgets.notices import EmptyState, ErrorCard, ProblemNotices, Progress
from studio.gui.widgets.search import SearchField


class LibraryScreen(Screen):
    """A library of facts that have a name. The subclass lays out the widgets declared here.

    ``enter(name)`` selects that entry; files dropped on the screen are added.
    """

    model: RecordTable[Any]
    table: QTableView
    panel: QWidget
    search: SearchField
    lists: QStackedWidget
    empty: EmptyState
    nothing: EmptyState
    adders: tuple[QWidget, ...]
    remove: QPushButton
    use: QPushButton

    def assemble(self) -> Iterator[None]:
        self.error, self.problems = ErrorCard(), ProblemNotices()
        self.loading, self.progress = Progress(), Progress()
        self._all: list[Any] = []
        self._chosen = ""
        self.setAcceptDrops(True)
        yield

    def enter(self, argument: Any = None) -> None:
        if isinstance(argument, str):
            self._chosen = argument
        self.loading.start("Reading the library")
        self.reload()

    def reload(self) -> None:
        """Read the library again."""

    def add(self, path: str) -> None:
        """Add a file or folder of this machine."""

    def describe(self, facts: Any) -> None:
        """Show an entry in the panel; None when none is selected."""

    def searched(self, facts: Any) -> str:
        """The text of an entry that a search looks through."""
        return str(facts.name)

    def added(self, facts: Any) -> str:
        """What to say of a new entry."""
        return f"{facts.name} is in the library"

    def selected(self) -> Any:
        """The facts of the selected entry, or None."""
        rows = self.table.selectionModel().selectedRows()
        return self.model.record(rows[0].row()) if rows else None

    @property
    def is_adding(self) -> bool:
        """Whether something is being added in the background."""
        return not self.adders[0].isEnabled()

    def fetch(self, phase: str, function: Callable[..., Any], *args: Any) -> None:
        """Add in the background; other ways to add wait, since the progress shown belongs to one."""
        self.error.hide()
        task = run_task(
            self, function, *args, done=self._fetched, failed=self._not_fetched, progress=self.progress.report
        )
        self.progress.start(phase, task)
        self._allow_adding(False)

    def show_library(self, entries: list[Any]) -> None:
        """List what the library holds."""
        self.loading.stop()
        self._all = entries
        self.filter()

    def not_loaded(self, error: StudioError) -> None:
        """The library could not be read."""
        self.loading.stop()
        self.error.show_error(error)

    def filter(self) -> None:
        """List the entries that have all words of the search."""
        words = self.search.text().casefold().split()
        found = [facts for facts in self._all if all(word in self.searched(facts).casefold() for word in words)]
        self.model.set_records(found)
        self.lists.setCurrentWidget(self.table if found else self.nothing if self._all else self.empty)
        names = [facts.name for facts in self.model.records()]
        if found:
            self.table.selectRow(names.index(self._chosen) if self._chosen in names else 0)
        self.on_selection()

    def on_selection(self) -> None:
        """Show the selected entry, and what can be done with it."""
        facts = self.selected()
        self.panel.setVisible(facts is not None)
        for made in (self.remove, self.use):
            made.setEnabled(facts is not None)
        if facts is not None:
            self._chosen = facts.name
        self.describe(facts)

    def _allow_adding(self, allowed: bool) -> None:
        for made in self.adders:
            made.setEnabled(allowed)

    def _fetched(self, facts: Any) -> None:
        self.progress.stop()
        self._allow_adding(True)
        self._chosen = facts.name
        self.noted.emit(self.added(facts))
        self.reload()

    def _not_fetched(self, error: StudioError) -> None:
        self.progress.stop()
        self._allow_adding(True)
        self.on_selection()
        if isinstance(error, Cancelled):
            self.noted.emit("Cancelled")
        else:
            self.error.show_error(error)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths and not self.is_adding:
            event.acceptProposedAction()
            self.add(paths[0])
