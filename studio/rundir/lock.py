"""The run lock: held by a worker for its whole life and freed by the kernel even on ``kill -9``.

On POSIX the launcher takes the lock and hands the open file to the worker, so there is no moment between
start and lock in which a live run looks dead. On Windows the worker takes it itself.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from studio.core.errors import MachineError, UserError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


INHERITED = "PET_STUDIO_LOCK_FD"
PATIENCE_S = 0.2
EDIT_PATIENCE_S = 10.0


class RunLock:
    """The lock of one run folder, as a context manager.

    A reader that asks ``is_alive`` holds the lock for an instant, so taking it is tried for ``PATIENCE_S``.
    """

    def __init__(self, path: Path) -> None:
        inherited = os.environ.pop(INHERITED, None)
        self._file: IO[bytes]
        if inherited is not None and _same_file(int(inherited), path):
            self._file = os.fdopen(int(inherited), "r+b")
            os.set_inheritable(self._file.fileno(), False)
            return
        self._file = path.open("a+b")
        if not _lock_within(PATIENCE_S, self._file):
            self._file.close()
            raise UserError("another worker holds this run", where=str(path), hint="wait for it, or stop it first")

    @property
    def fd(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        """Let go of the lock (in this process; a worker that inherited it keeps it)."""
        self._file.close()

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``: of all threads and processes, one at a time executes the block.

    Raises:
        MachineError: the file cannot be made, or somebody holds it for longer than a short edit takes.
    """
    try:
        file = path.open("a+b")
    except OSError as error:
        raise MachineError(
            f"cannot be written: {error.strerror or error}", where=str(path), hint="check the permissions of its folder"
        ) from error
    with file:
        if not _lock_within(EDIT_PATIENCE_S, file):
            raise MachineError("is locked by another program", where=str(path), hint="try again in a moment")
        yield


def is_alive(folder: Path) -> bool:
    """Whether a worker holds the lock of this run folder."""
    path = folder / "run.lock"
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return False
    with file:
        return not _try_lock(file)


def _lock_within(seconds: float, file: IO[bytes]) -> bool:
    deadline = time.monotonic() + seconds
    while not _try_lock(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False
