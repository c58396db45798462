"""The four kinds of failure; one boundary per process turns each into an event or a dialog."""

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.core.paths import home
from studio.core.problems import Problem


class StudioError(Exception):
    """Base of every error that the studio raises on purpose.

    Args:
        message: what is wrong, as one sentence.
        where: the place: a spec path, a file, a row ("data.jsonl:17").
        hint: what the user does next.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  {self.hint}" if self.hint else ""
        return f"{place}{self.message}{advice}"


class UserError(StudioError):
    """The input is wrong: says what, where and what to do next."""

    exit_code = 2


class InvalidSpecError(UserError):
    """A spec with one or more problems, all of them listed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(f"the spec has {count} problem{'s' if count != 1 else ''}")

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])


class MachineError(StudioError):
    """The machine lacks something: disk, memory, driver, display; the message has the measured numbers.

    ``details`` has them by name, where a program may want them.
    """

    exit_code = 3

    def __init__(
        self, message: str, *, where: str = "", hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.details = dict(details or {})


def refused(error: OSError, place: str | Path = "") -> StudioError | None:
    """What the operating system refused, as an error for the user; None for what should not happen at all.

    ``place`` is named where the error itself names no file.
    """
    place = str(error.filename or place)
    reason = (error.strerror or str(error)).lower()
    if error.errno in _DISK or (error.errno in _PLACE and Path(place).is_relative_to(home().root)):
        hint = "free some space, check the permissions, or choose another folder with PET_STUDIO_HOME"
        return MachineError(f"the disk refuses: {reason}", where=place, hint=hint)
    if error.errno in _PLACE:
        return UserError(f"cannot be used: {reason}", where=place, hint="check the path and the permissions")
    return None


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EFBIG)
_PLACE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)


class PluginError(StudioError):
    """A plugin misbehaved; always names it."""

    def __init__(self, plugin: str, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(f"plugin {plugin!r}: {message}", where=where, hint=hint)
        self.plugin = plugin


class BugError(StudioError):
    """The studio's own fault; opens the report dialog."""


class Cancelled(StudioError):  # noqa: N818 - it is an answer, not an error
    """The user cancelled; whatever was half done has been taken back."""

    exit_code = 1

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)
