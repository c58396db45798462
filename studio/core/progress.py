"""How long work says where it stands, and how it learns that nobody waits for it any more."""

from collections.abc import Callable

Progress = Callable[[str, float | None], None]  # what is being done, in words, and its fraction 0..1 where known
CancelCheck = Callable[[], bool]


def ignore_progress(phase: str, fraction: float | None) -> None:
    """For work that nobody watches."""


def never() -> bool:
    """For work that nobody cancels."""
    return False
