"""The event log: one writer appends whole lines, any number of readers follow from an offset."""

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from studio.core.errors import MachineError
from studio.core.events import Event, decode, encode

READ_BYTES = 4 * 1024 * 1024


class EventLog:
    """Appends events; safe to call from the worker's threads. Each event is one write of one line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)
        if _torn(path):
            self._file.write(b"\n")  # close the line a killed writer left open, so ours starts a new one

    def append(self, event: Event, *, durable: bool = False) -> None:
        """Write one event; ``durable`` waits until the disk has it.

        Raises:
            MachineError: the disk is full or gone.
        """
        line = encode(event).encode() + b"\n"
        try:
            with self._lock:
                self._file.write(line)
                if durable:
                    os.fsync(self._file.fileno())
        except OSError as error:
            raise MachineError(
                f"the event log cannot be written: {error.strerror or error}",
                where=str(self._path),
                hint="free some space, then resume the run",
            ) from error

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(path: Path, offset: int = 0, *, limit_bytes: int = READ_BYTES) -> tuple[list[Event], int]:
    """Events of the whole lines from byte ``offset`` on, and the offset to continue from.

    A torn last line is left for the next read. At most about ``limit_bytes`` are read at once; a log that
    does not exist yet reads as empty; lines that are no events are skipped.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit_bytes)
            end = data.rfind(b"\n")
            while end < 0 and len(data) >= limit_bytes and (more := file.read(limit_bytes)):
                data += more
                end = data.rfind(b"\n")
    except FileNotFoundError:
        return [], offset
    return list(_decoded(data[: end + 1].splitlines())), offset + end + 1


def read_all_events(path: Path) -> Iterator[Event]:
    """Every event of a log, in bounded memory."""
    offset = 0
    while True:
        events, after = read_events(path, offset)
        yield from events
        if after == offset:
            return
        offset = after


def _decoded(lines: Iterable[bytes]) -> Iterator[Event]:
    for line in lines:
        event = decode(line) if line.strip() else None
        if event is not None:
            yield event


def _torn(path: Path) -> bool:
    size = path.stat().st_size
    if size == 0:
        return False
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"
