"""Work off the UI thread: results come back as queued signals, and are dropped when their owner is gone."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any

import shiboken6
from PySide6.QtCore import QCoreApplication, QObject, QRunnable, QThreadPool, QTimer, Signal, Slot

from studio.core.errors import BugError, Cancelled, StudioError

PAUSE_MS = 4  # between messages, for what they changed to be painted
STEP_PAUSE_MS = 12  # between steps of work that only the UI thread can do
log = logging.getLogger(__name__)


class Task:
    """One piece of background work, as its starter sees it."""

    def __init__(
        self,
        owner: QObject,
        done: Callable[[Any], None] | None,
        failed: Callable[[StudioError], None] | None,
        progress: Callable[[str, float | None], None] | None,
    ) -> None:
        self.owner = owner
        self.done = done
        self.failed = failed
        self.progress = progress
        self.finished = False
        self._cancelled = Event()

    def cancel(self) -> None:
        """Ask the work to stop; nothing of it is delivered any more except ``Cancelled`` to ``failed``."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()


@dataclass(frozen=True)
class _Message:
    task: Task
    kind: str  # done | failed | progress
    payload: Any


class TaskHub(QObject):
    """Lives in the UI thread and hands each message to its task's callbacks, one per turn of the event loop.

    Signals: ``unhandled`` carries an error whose task had no ``failed``; ``busy_changed`` the tasks under way.
    """

    arrived = Signal(object)
    unhandled = Signal(object)
    busy_changed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.pool = QThreadPool()
        self.pool.setMaxThreadCount(6)
        self.running: set[Task] = set()
        self._waiting: deque[_Message] = deque()
        self._turn = QTimer(self, interval=PAUSE_MS)
        self._turn.timeout.connect(self._deliver_next)
        self.arrived.connect(self._queue)

    @property
    def is_busy(self) -> bool:
        """Whether results are waiting to be handed over."""
        return bool(self._waiting)

    def start(self, task: Task, work: QRunnable) -> None:
        self.running.add(task)
        self.busy_changed.emit(len(self.running))
        self.pool.start(work)

    def shut_down(self, wait_ms: int = 3000) -> None:
        """Cancel everything and wait for threads that listen."""
        for task in self.running:
            task.cancel()
        self.pool.waitForDone(wait_ms)

    @Slot(object)
    def _queue(self, message: _Message) -> None:
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last.kind == message.kind == "progress" and last.task is message.task:
            self._waiting.pop()  # progress that is past
        self._waiting.append(message)
        if not self._turn.isActive():
            self._turn.start()

    def _deliver_next(self) -> None:
        message = self._waiting.popleft()
        if not self._waiting:
            self._turn.stop()
        task = message.task
        if message.kind != "progress":
            task.finished = True
            self.running.discard(task)
            self.busy_changed.emit(len(self.running))
        if not shiboken6.isValid(task.owner):
            return
        if message.kind == "progress":
            if task.progress is not None and not task.is_cancelled():
                task.progress(*message.payload)
        elif task.is_cancelled():  # however it ended
            self._fail(task, Cancelled())
        elif message.kind == "failed":
            self._fail(task, message.payload)
        elif task.done is not None:
            task.done(message.payload)

    def _fail(self, task: Task, error: StudioError) -> None:
        if task.failed is not None:
            task.failed(error)
        elif not isinstance(error, Cancelled):
            self.unhandled.emit(error)


class _Work(QRunnable):
    def __init__(self, hub: TaskHub, task: Task, call: Callable[[], Any]) -> None:
        super().__init__()
        self._hub, self._task, self._call = hub, task, call

    def run(self) -> None:
        if self._task.is_cancelled():
            self._send("failed", Cancelled())
            return
        try:
            result = self._call()
        except StudioError as error:
            self._send("failed", error)
        except Exception as error:
            log.exception("background work failed")
            self._send("failed", _as_bug(error))
        else:
            self._send("done", result)

    def _send(self, kind: str, payload: Any) -> None:
        if shiboken6.isValid(self._hub):
            self._hub.arrived.emit(_Message(self._task, kind, payload))


def run_task(
    owner: QObject,
    function: Callable[..., Any],
    *args: Any,
    done: Callable[[Any], None] | None = None,
    failed: Callable[[StudioError], None] | None = None,
    progress: Callable[[str, float | None], None] | None = None,
    **kwargs: Any,
) -> Task:
    """Run ``function(*args, **kwargs)`` in a thread and call back in the UI thread.

    With ``progress`` the function is also given ``progress=`` and ``cancelled=``; a function that cannot be
    cancelled is called without. Errors without ``failed`` reach the window's error dialog. A cancelled task
    calls only ``failed`` with ``Cancelled``, and nothing at all if its owner is gone.
    """
    hub = task_hub()
    task = Task(owner, done, failed, progress)
    if progress is not None:

        def report(phase: str, fraction: float | None = None) -> None:
            hub.arrived.emit(_Message(task, "progress", (phase, fraction)))

        kwargs |= {"progress": report, "cancelled": task.is_cancelled}
    hub.start(task, _Work(hub, task, lambda: function(*args, **kwargs)))
    return task


_hub: list[TaskHub] = []


def task_hub() -> TaskHub:
    """The one hub of this application; made anew when the application was."""
    if not _hub or not shiboken6.isValid(_hub[0]):
        _hub[:] = [TaskHub()]
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(_hub[0].shut_down)
    return _hub[0]


def run_in_steps(owner: QObject, steps: Iterator[None]) -> None:
    """Work that only the UI thread can do: one step of it per turn of the event loop, while ``owner`` lives."""
    timer = QTimer(owner, interval=STEP_PAUSE_MS)

    def go_on() -> None:
        try:
            next(steps)
        except BaseException as end:
            timer.deleteLater()
            if not isinstance(end, StopIteration):
                raise

    timer.timeout.connect(go_on)
    timer.start()


class Debounce(QObject):
    """Calls a function once, ``wait_ms`` after the last of many requests."""

    def __init__(self, owner: QObject, wait_ms: int, function: Callable[[], None]) -> None:
        super().__init__(owner)
        self._timer = QTimer(self, singleShot=True, interval=wait_ms)
        self._timer.timeout.connect(function)

    def request(self) -> None:
        self._timer.start()

    def cancel(self) -> None:
        self._timer.stop()

    def is_waiting(self) -> bool:
        return self._timer.isActive()


def _as_bug(error: Exception) -> BugError:
    bug = BugError(f"{type(error).__name__}: {error}", hint="this is a fault of the studio; the log has the details")
    bug.__cause__ = error
    return bug
