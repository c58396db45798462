"""Checks the draft in the background: the quick answer a moment after the last change, then the better one."""

from dataclasses import replace

from PySide6.QtCore import QObject, Signal

from studio.core.errors import Cancelled, StudioError
from studio.gui.backend import Backend, Check
from studio.gui.screens.new_run.draft import Draft
from studio.gui.tasks import Debounce, Task, run_task

WAIT_MS = 150


class Checker(QObject):
    """Signals: ``checking(task)``, then ``checked(Check)`` or ``failed(StudioError)``.

    After a quick forecast comes ``refining(True)``, and with the better one ``refining(False)`` and ``checked`` again.
    A simulation cannot be broken off, so there is one at a time: changes made meanwhile share the next.
    """

    checking = Signal(object)
    checked = Signal(object)
    refining = Signal(bool)
    failed = Signal(object)

    def __init__(self, draft: Draft, backend: Backend, parent: QObject) -> None:
        super().__init__(parent)
        self._draft, self._backend = draft, backend
        self._debounce = Debounce(self, WAIT_MS, self.check_now)
        self._task: Task | None = None
        self._refinement: Task | None = None
        self._quick: Check | None = None  # about the draft as it stands, if there is one to refine
        draft.changed.connect(lambda _path: self._outdate())

    @property
    def is_settled(self) -> bool:
        """Whether the last answer is about the draft as it stands, and as good as it gets."""
        return self._task is None and self._refinement is None and not self._debounce.is_waiting()

    def check_now(self) -> None:
        """Ask about the draft as it stands; an older question is forgotten."""
        self._forget()
        self._debounce.cancel()
        if self._task is not None:
            self._task.cancel()
        self._task = run_task(self, self._backend.check, self._draft.copy(), done=self._answer, failed=self._fail)
        self.checking.emit(self._task)

    def refine_now(self) -> None:
        """Ask again for the better forecast; until it comes, what is known stands."""
        if self._quick is None:
            return
        self.refining.emit(True)
        if self._refinement is None:
            self._refinement = run_task(
                self, self._backend.refine, self._draft.copy(), done=self._refine, failed=self._lack
            )
        else:
            self._refinement.cancel()

    def _outdate(self) -> None:
        self._forget()
        self._debounce.request()

    def _forget(self) -> None:
        self._quick = None
        if self._refinement is not None:
            self._refinement.cancel()

    def _answer(self, check: Check) -> None:
        self._task = None
        self._quick = check if check.estimate is not None else None
        self.refining.emit(False)
        self.checked.emit(check)
        self.refine_now()

    def _fail(self, error: StudioError) -> None:
        superseded = self._task is not None and not self._task.is_cancelled()
        if isinstance(error, Cancelled) and superseded:
            return
        self._task = None
        self.refining.emit(False)
        self.failed.emit(error)

    def _refine(self, check: Check) -> None:
        self._refinement = None
        self.refining.emit(False)
        self.checked.emit(check)

    def _lack(self, error: StudioError) -> None:
        """No better forecast: the quick one stands and says why; or this was about an older draft."""
        self._refinement = None
        if isinstance(error, Cancelled):
            self.refine_now()
        elif self._quick is not None:
            self._refine(_because(self._quick, error.message))


def _because(check: Check, reason: str) -> Check:
    estimate = check.estimate and check.estimate.model_copy(update={"fallback": reason})
    return replace(check, estimate=estimate)
