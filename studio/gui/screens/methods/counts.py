"""Every method counted on the chosen model and budget, in the background; the latest question wins."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from studio.core.errors import Cancelled, StudioError
from studio.gui.backend import Backend
from studio.gui.tasks import Task, run_task
from studio.gui.widgets.notices import Progress

if TYPE_CHECKING:
    from studio.service.side_by_side import Counted


class Counts(QObject):
    """Signals: ``changed``; ``failed(error)``. ``progress`` is to be shown by the owner."""

    changed = Signal()
    failed = Signal(object)

    def __init__(self, backend: Backend, parent: QObject) -> None:
        super().__init__(parent)
        self.progress = Progress()
        self.known: tuple[Counted, ...] = ()
        self._backend = backend
        self._question: tuple[str, tuple[str, ...], int | None] = ("", (), None)
        self._task: Task | None = None

    def ask(self, model: str, methods: Sequence[str], budget: int | None) -> None:
        """Count the methods on a model of the library, unless that is what was asked last."""
        question = (model, tuple(methods), budget)
        if question == self._question:
            return
        self._question, self.known = question, ()
        if self._task is not None:
            self._task.cancel()
        if model and methods:
            self._task = run_task(
                self, self._backend.count_methods, f"library:{model}", question[1], budget,
                done=self._show, failed=self._fail, progress=self.progress.report,
            )  # fmt: skip
            self.progress.start("Counting every method", self._task)
        self.changed.emit()

    def _show(self, counted: "list[Counted]") -> None:
        self.progress.stop()
        self.known = tuple(counted)
        self.changed.emit()

    def _fail(self, error: StudioError) -> None:
        if self._task is not None and isinstance(error, Cancelled) and not self._task.is_cancelled():
            return  # of an earlier question
        self.progress.stop()
        if not isinstance(error, Cancelled):
            self.failed.emit(error)
