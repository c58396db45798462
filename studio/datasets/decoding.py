"""Data files as bytes and as lines of text: gzip, encodings, and what is no text at all."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from studio.core.errors import UserError
from studio.core.units import MIB, format_bytes
from studio.datasets.progress import Gauge

MAX_LINE_BYTES = 64 * MIB
MAX_WHOLE_BYTES = 1024 * MIB  # a file that can only be parsed whole
MAX_EXPANSION = 200  # times the size of a .gz file; text rarely reaches 20

_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}
_UTF8_MARK = b"\xef\xbb\xbf"
_PICKLE_STARTS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


@dataclass(frozen=True)
class OpenFile:
    """A data file open for reading, decompressed; ``name`` is how messages call it."""

    stream: BinaryIO
    name: str
    limit_bytes: int | None = None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Numbered lines (from 1) with their line ends."""
        offset = 0
        number = 0
        while chunk := self.stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(chunk) > MAX_LINE_BYTES:
                raise UserError(
                    f"the line is longer than {format_bytes(MAX_LINE_BYTES)}",
                    where=f"{self.name}:{number}",
                    hint="write one row per line",
                )
            yield number, self._decode(chunk, offset, number)
            offset += len(chunk)
            self._check_expansion(offset)

    def text(self) -> str:
        """The whole file."""
        allowed_bytes = MAX_WHOLE_BYTES if self.limit_bytes is None else min(MAX_WHOLE_BYTES, self.limit_bytes)
        data = self.stream.read(allowed_bytes + 1)
        if len(data) > MAX_WHOLE_BYTES:
            raise UserError(
                f"the file is larger than {format_bytes(MAX_WHOLE_BYTES)}, too large for one JSON document",
                where=self.name,
                hint="write it as JSON lines (.jsonl): one object per line",
            )
        self._check_expansion(len(data))
        return self._decode(data, 0, 1)

    def _decode(self, data: bytes, offset: int, line: int) -> str:
        start = len(_UTF8_MARK) if offset == 0 and data.startswith(_UTF8_MARK) else 0
        try:
            return data[start:].decode()
        except UnicodeDecodeError as error:
            at = start + error.start
            line += data.count(b"\n", 0, at)
            raise UserError(
                f"byte {offset + at} (0x{data[at]:02x}) is not UTF-8 text",
                where=f"{self.name}:{line}",
                hint="save the file as UTF-8",
            ) from error

    def _check_expansion(self, bytes_: int) -> None:
        if self.limit_bytes is not None and bytes_ > self.limit_bytes:
            raise UserError(
                f"the file unpacks to more than {MAX_EXPANSION} times its size",
                where=self.name,
                hint="unpack it yourself if you trust it, and add the unpacked file",
            )


@contextmanager
def open_file(path: Path, meter: Gauge) -> Iterator[OpenFile]:
    """The file for reading as text; a UserError if it is empty or no text."""
    with open_bytes(path) as raw:
        meter.follow(raw.tell)
        with decoded(raw, path.name, path.stat().st_size * MAX_EXPANSION + 16 * MIB) as file:
            yield file


def open_bytes(path: Path) -> BufferedReader:
    """The file as it is; a UserError if it may not be read."""
    try:
        return path.open("rb")
    except PermissionError as error:
        raise UserError("the file may not be read", where=str(path), hint="check its permissions") from error


@contextmanager
def decoded(raw: BufferedReader, name: str, limit_bytes: int) -> Iterator[OpenFile]:
    """The bytes for reading as text; what a name in .gz unpacks to may not pass the limit."""
    if not name.lower().endswith(".gz"):
        file = OpenFile(raw, name)
        _refuse_binary(file, raw.peek(8192))
        yield file
        return
    try:
        with gzip.GzipFile(fileobj=raw) as unpacked:
            file = OpenFile(cast("BinaryIO", unpacked), name, limit_bytes)
            _refuse_binary(file, unpacked.peek(8192))
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"the gzip data is damaged ({error})", where=name, hint="compress or download the file again"
        ) from error


def _refuse_binary(file: OpenFile, start: bytes) -> None:
    if not start:
        raise UserError("the file is empty", where=file.name, hint="choose a file with at least one row")
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            raise UserError(f"the file is {encoding} text", where=file.name, hint="save the file as UTF-8")
    if start[:2] in _PICKLE_STARTS:
        raise refuse_pickle(file.name)
    if b"\0" in start:
        raise UserError(
            "the file is binary, not text",
            where=file.name,
            hint="if it is Parquet or Arrow data, name it .parquet or .arrow",
        )


def refuse_pickle(name: str) -> UserError:
    """The error for a pickle, which can run code when it is read."""
    return UserError(
        "this is a Python pickle; reading it could run code hidden in it",
        where=name,
        hint="save the rows as JSON lines, CSV or Parquet",
    )
