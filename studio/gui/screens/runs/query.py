"""The runs table's query: which runs, in which order; answers come from background tasks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from studio.catalog.rows import RunFilter, RunRow
from studio.gui.backend import Backend
from studio.gui.models.pages import PAGE_ROWS, PagedTable
from studio.gui.screens.runs.columns import RUN_COLUMNS
from studio.gui.tasks import run_task

REFRESH_MS = 1000


@dataclass(frozen=True)
class RunPages:
    """How many runs the filter lets through, and some pages of them."""

    count: int
    pages: dict[int, list[RunRow]]


class RunsQuery(QObject):
    """Feeds a ``PagedTable`` with what filter and order select, and keeps it fresh while running.

    Signals: ``restarted`` after another query was answered, ``refreshed`` after rows changed in place,
    ``failed(StudioError)`` when the catalog cannot be brought up to date.
    """

    restarted = Signal()
    refreshed = Signal()
    failed = Signal(object)

    def __init__(self, backend: Backend, model: PagedTable[RunRow], parent: QObject) -> None:
        super().__init__(parent)
        self._backend, self._model = backend, model
        self.filter = RunFilter()
        self.sort = "-created"
        self._generation = 0
        self._refreshing = False
        self._timer = QTimer(self, interval=REFRESH_MS)
        self._timer.timeout.connect(self._look_for_news)
        model.page_wanted.connect(self._fetch_page)
        model.sort_wanted.connect(self._sort_by)

    def start(self) -> None:
        """Answer the query now and look for changes each second."""
        self.restart()
        self._timer.start()
        self._look_for_news()

    def stop(self) -> None:
        self._timer.stop()

    def change(self, **changes: object) -> None:
        """Another filter: fields of ``RunFilter``."""
        fresh = replace(self.filter, **changes)  # type: ignore[arg-type]
        if fresh != self.filter:
            self.filter = fresh
            self.restart()

    def restart(self) -> None:
        self._generation += 1
        self._ask([0], self._take_first)

    def reload(self) -> None:
        """Read the shown pages again, in place."""
        self._ask(self._model.loaded_pages() or [0], self._take_again)

    def _ask(self, pages: Iterable[int], done: Callable[[RunPages], None]) -> None:
        generation = self._generation

        def take(found: RunPages) -> None:
            if generation == self._generation:
                done(found)

        run_task(self, read_pages, self._backend, self.filter, self.sort, tuple(pages), done=take)

    def _take_first(self, found: RunPages) -> None:
        self._model.restart(found.count)
        self._take_pages(found)
        self.restarted.emit()

    def _take_again(self, found: RunPages) -> None:
        self._model.set_count(found.count)
        self._take_pages(found)
        self.refreshed.emit()

    def _take_pages(self, found: RunPages) -> None:
        for page, rows in found.pages.items():
            self._model.set_page(page, rows)

    def _fetch_page(self, page: int) -> None:
        self._ask([page], self._take_pages)

    def _sort_by(self, column: int, order: Qt.SortOrder) -> None:
        if not 0 <= column < len(RUN_COLUMNS):
            return
        sign = "-" if order == Qt.SortOrder.DescendingOrder else ""
        fresh = f"{sign}{RUN_COLUMNS[column].sort}"
        if fresh != self.sort:
            self.sort = fresh
            self.restart()

    def _look_for_news(self) -> None:
        if not self._refreshing:
            self._refreshing = True
            run_task(self, self._backend.refresh_runs, done=self._take_news, failed=self._no_news)

    def _take_news(self, changed: set[str]) -> None:
        self._refreshing = False
        if changed:
            self.reload()

    def _no_news(self, error: object) -> None:
        """The catalog cannot be read: stop asking each second, and let the window say why once."""
        self._refreshing = False
        self.stop()
        self.failed.emit(error)


def read_pages(backend: Backend, wanted: RunFilter, sort: str, pages: tuple[int, ...]) -> RunPages:
    """Count and pages in one background task."""
    found = {page: backend.list_runs(wanted, sort, PAGE_ROWS, page * PAGE_ROWS) for page in pages}
    return RunPages(backend.count_runs(wanted), found)
