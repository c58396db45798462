"""Checks the draft in the background: a moment after the last change, and only the newest answer counts."""

from PySide6.QtCore import QObject, Signal

from studio.core.errors import Cancelled, StudioError
from studio.gui.backend import Backend, Check
from studio.gui.screens.new_run.draft import Draft
from studio.gui.tasks import Debounce, Task, run_task

WAIT_MS = 150


class Checker(QObject):
    """Signals: ``checking(task)``, then ``checked(Check)`` or ``failed(StudioError)``."""

    checking = Signal(object)
    checked = Signal(object)
    failed = Signal(object)

    def __init__(self, draft: Draft, backend: Backend, parent: QObject) -> None:
        super().__init__(parent)
        self._draft, self._backend = draft, backend
        self._debounce = Debounce(self, WAIT_MS, self.check_now)
        self._task: Task | None = None
        draft.changed.connect(lambda _path: self._debounce.request())

    @property
    def is_settled(self) -> bool:
        """Whether the last answer is about the draft as it stands."""
        return self._task is None and not self._debounce.is_waiting()

    def check_now(self) -> None:
        """Ask about the draft as it stands; an older question is forgotten."""
        self._debounce.cancel()
        if self._task is not None:
            self._task.cancel()
        self._task = run_task(self, self._backend.check, self._draft.copy(), done=self._answer, failed=self._fail)
        self.checking.emit(self._task)

    def _answer(self, check: Check) -> None:
        self._task = None
        self.checked.emit(check)

    def _fail(self, error: StudioError) -> None:
        superseded = self._task is not None and not self._task.is_cancelled()
        if isinstance(error, Cancelled) and superseded:
            return
        self._task = None
        self.failed.emit(error)
