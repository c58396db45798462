"""Progress through files in bytes."""

from collections.abc import Callable
from typing import Protocol

from studio.core.errors import Cancelled
from studio.core.progress import CancelCheck, Progress, ignore_progress, never


class Gauge(Protocol):
    """What a reader of one file tells of its progress; ``tick`` raises ``Cancelled`` when asked to stop."""

    def follow(self, position: Callable[[], int]) -> None:
        """The current file's position comes from here."""

    def tick(self) -> None: ...


class Meter:
    """Progress through some files, in bytes; ``tick`` reports it and raises ``Cancelled`` when asked to stop."""

    def __init__(self, phase: str, total_bytes: int, progress: Progress | None, cancelled: CancelCheck | None) -> None:
        self._phase = phase
        self._total_bytes = max(total_bytes, 1)
        self._progress = progress or ignore_progress
        self._cancelled = cancelled or never
        self._finished_bytes = 0
        self._position: Callable[[], int] = int

    def follow(self, position: Callable[[], int]) -> None:
        """The current file's position comes from here."""
        self._position = position

    def finish_file(self, bytes_: int) -> None:
        """A file of this size has been read."""
        self._finished_bytes += bytes_
        self._position = int

    def tick(self) -> None:
        if self._cancelled():
            raise Cancelled
        done_bytes = self._finished_bytes + self._position()
        self._progress(self._phase, min(done_bytes / self._total_bytes, 1.0))


class Part:
    """The gauge of a file inside an archive: what it holds unpacked counts as what it takes there packed."""

    def __init__(self, whole: Gauge, start_bytes: int, packed_bytes: int, unpacked_bytes: int) -> None:
        self._whole = whole
        self._start_bytes = start_bytes
        self._packed_bytes = packed_bytes
        self._unpacked_bytes = max(unpacked_bytes, 1)

    def follow(self, position: Callable[[], int]) -> None:
        """The position in the unpacked file comes from here."""
        self._whole.follow(
            lambda: (
                self._start_bytes + self._packed_bytes * min(position(), self._unpacked_bytes) // self._unpacked_bytes
            )
        )

    def tick(self) -> None:
        self._whole.tick()
