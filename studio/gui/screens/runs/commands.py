"""Carries out what the user wants with runs: in the background, with Undo, and the table read again after."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from studio.catalog.rows import RunRow
from studio.core.errors import StudioError
from studio.gui.backend import Backend
from studio.gui.screens.runs.query import RunsQuery
from studio.gui.tasks import run_task
from studio.gui.widgets.notices import Toast
from studio.gui.widgets.questions import ask, choose_file

if TYPE_CHECKING:
    from studio.gui.screens.runs.screen import RunsScreen


@dataclass(frozen=True)
class _Change:
    """One change to runs that waits for its turn, and what follows it."""

    work: Callable[[], Any]
    then: Callable[[], None] | None


class RunCommands(QObject):
    """The commands of the Runs screen."""

    def __init__(self, screen: "RunsScreen", backend: Backend, query: RunsQuery) -> None:
        super().__init__(screen)
        self._screen, self._backend, self._query = screen, backend, query
        self.toast = Toast(screen)
        self._waiting: deque[_Change] = deque()

    def do(self, action_id: str, runs: list[RunRow]) -> None:
        """Carry out the command with that id; the selection has been found fit for it."""
        commands: dict[str, Callable[[list[RunRow]], None]] = {
            "open": lambda chosen: self._screen.navigate.emit("run", chosen[0].id),
            "compare": self._screen.compare,
            "repeat": self._repeat,
            "star": self._star,
            "export": self._export,
            "trash": self._trash,
            "restore": self._restore,
            "delete": self._ask_delete,
        }
        commands[action_id](runs)

    def note(self, run_id: str, text: str) -> None:
        self._change(self._backend.note_run, run_id, text)

    def rename(self, run_id: str, name: str) -> None:
        self._change(self._backend.rename_run, run_id, name)

    def tag(self, run_id: str, before: list[str], after: list[str]) -> None:
        self._change(self._backend.set_tags, run_id, before, after)

    def _change(self, function: Callable[..., Any], *args: Any, then: Callable[[], None] | None = None) -> None:
        """Do it in the background, one change after the other: two at once could undo each other's labels."""
        self._waiting.append(_Change(lambda: function(*args), then))
        if len(self._waiting) == 1:
            self._do_next()

    def _do_next(self) -> None:
        run_task(self, self._waiting[0].work, done=self._done, failed=self._fail_change)

    def _done(self, _: object) -> None:
        finished = self._finish()
        if finished.then is not None:
            finished.then()

    def _fail_change(self, error: StudioError) -> None:
        self._screen.show_error(error)
        self._finish()

    def _finish(self) -> "_Change":
        """Take the first change off the queue; after the last one the table is read again."""
        finished = self._waiting.popleft()
        if self._waiting:
            self._do_next()
        else:
            self._query.reload()
        return finished

    def _fail(self, error: StudioError) -> None:
        self._screen.show_error(error)

    def _repeat(self, runs: list[RunRow]) -> None:
        navigate = self._screen.navigate
        run_task(
            self,
            self._backend.run_spec,
            runs[0].id,
            done=lambda spec: navigate.emit("new_run", {"spec": spec}),
            failed=self._fail,
        )

    def _star(self, runs: list[RunRow]) -> None:
        on = not all(run.star for run in runs)
        self._change(self._backend.star_runs, _ids(runs), on)

    def _trash(self, runs: list[RunRow]) -> None:
        def offer_undo() -> None:
            self.toast.show_note(f"Moved {_named(runs)} to the trash", "Undo", lambda: self._restore(runs))

        self._change(self._backend.trash_runs, _ids(runs), then=offer_undo)

    def _restore(self, runs: list[RunRow]) -> None:
        self._change(self._backend.restore_runs, _ids(runs))

    def _ask_delete(self, runs: list[RunRow]) -> None:
        ask(
            self._screen,
            "Delete for good?",
            f"Delete {_named(runs)} for good?",
            [("Delete", lambda: self._change(self._backend.delete_runs, _ids(runs)))],
            informative="Checkpoints, adapters and curves are removed from the disk. This cannot be undone.",
        )

    def _export(self, runs: list[RunRow]) -> None:
        run = runs[0]

        def write(path: str) -> None:
            run_task(self, self._backend.export_curves, run.id, Path(path), done=told, failed=self._fail)

        def told(lines: int) -> None:
            self.toast.show_note(f"Wrote {lines:,} lines of curves")

        choose_file(self._screen, "Export curves", "CSV (*.csv)", write, save=True, start=f"{run.name}.csv")


def _ids(runs: list[RunRow]) -> list[str]:
    return [run.id for run in runs]


def _named(runs: list[RunRow]) -> str:
    return f"“{runs[0].name}”" if len(runs) == 1 else f"{len(runs)} runs"
