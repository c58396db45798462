"""Data files inside a zip archive, read in place or unpacked one at a time."""

import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from studio.core.errors import UserError
from studio.core.units import GIB, MIB, format_bytes
from studio.datasets.decoding import MAX_EXPANSION
from studio.datasets.progress import Gauge

MAX_MEMBERS = 100_000
MAX_UNPACKED_BYTES = 16 * GIB  # of one member that can only be read from a file of its own

_CHUNK_BYTES = MIB
_ENCRYPTED = 0x1
_UNPACK = "unpack it yourself if you trust it, and add the unpacked folder"
_AGAIN = "pack or download the archive again"


class _Unpacking(RawIOBase):
    """What an archive's member holds; damage in it is a UserError."""

    def __init__(self, packed: IO[bytes], name: str, gauge: Gauge) -> None:
        self._packed = packed
        self._name = name
        self._read_bytes = 0
        gauge.follow(lambda: self._read_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _damage(self._name):
            data = self._packed.read(len(buffer))
        buffer[: len(data)] = data
        self._read_bytes += len(data)
        return len(data)


@dataclass(frozen=True)
class Member:
    """A file in an archive; ``name`` is how messages call it."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    name: str

    @property
    def limit_bytes(self) -> int:
        """What it may unpack to."""
        return _limit_bytes(self.info.compress_size)

    def head(self, bytes_: int) -> bytes:
        """Its first bytes."""
        with _damage(self.name), self.archive.open(self.info) as packed:
            return packed.read(bytes_)

    @contextmanager
    def open(self, gauge: Gauge) -> Iterator[BufferedReader]:
        """Its bytes, unpacked as they are read."""
        with _damage(self.name):
            packed = self.archive.open(self.info)
        raw: Any = _Unpacking(packed, self.name, gauge)
        with packed, BufferedReader(raw, _CHUNK_BYTES) as stream:
            yield stream

    @contextmanager
    def unpacked(self, folder: Path, gauge: Gauge) -> Iterator[Path]:
        """The member as a file in ``folder``, for as long as the block runs."""
        if self.info.file_size > MAX_UNPACKED_BYTES:
            raise UserError(
                f"the file unpacks to more than {format_bytes(MAX_UNPACKED_BYTES)}", where=self.name, hint=_UNPACK
            )
        target = folder / "unpacked"
        try:
            with self.open(gauge) as stream, target.open("wb") as file:
                while chunk := stream.read(_CHUNK_BYTES):
                    gauge.tick()
                    file.write(chunk)
            yield target
        finally:
            target.unlink(missing_ok=True)


@contextmanager
def open_archive(path: Path) -> Iterator[dict[str, Member]]:
    """The files in the archive by their paths; a UserError if one of them has a path that must not be trusted."""
    with _damage(path.name):
        archive = zipfile.ZipFile(path)
    with archive:
        infos = archive.infolist()
        if len(infos) > MAX_MEMBERS:
            raise UserError(
                f"the archive holds {len(infos):,} files, more than {MAX_MEMBERS:,}", where=path.name, hint=_UNPACK
            )
        for info in infos:
            _check_path(info, path.name)
        files = [info for info in infos if not info.is_dir()]
        twice, count = Counter(info.filename for info in files).most_common(1)[0] if files else ("", 1)
        if count > 1:
            raise UserError(f"the archive holds {twice!r} more than once", where=path.name, hint=_AGAIN)
        yield {info.filename: Member(archive, info, f"{path.name}/{info.filename}") for info in files}


def check_sizes(path: Path, members: list[Member]) -> None:
    """A UserError unless all these files may be read together."""
    for member in members:
        if member.info.flag_bits & _ENCRYPTED:
            raise UserError(
                "the file is encrypted", where=member.name, hint="unpack it with its password and add the folder"
            )
        if member.info.file_size > member.limit_bytes:
            raise UserError(
                f"the file unpacks to more than {MAX_EXPANSION} times its size", where=member.name, hint=_UNPACK
            )
    if sum(member.info.file_size for member in members) > _limit_bytes(path.stat().st_size):
        raise UserError(
            f"the archive unpacks to more than {MAX_EXPANSION} times its size", where=path.name, hint=_UNPACK
        )


def _check_path(info: zipfile.ZipInfo, name: str) -> None:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UserError(f"{info.filename!r} is a link", where=name, hint="pack the file it leads to instead")
    path = PureWindowsPath(info.filename)  # it takes both kinds of slash
    if path.drive or path.root or ".." in path.parts or not PurePosixPath(info.filename).parts:
        raise UserError(
            f"the path {info.filename!r} leads out of the archive",
            where=name,
            hint="do not trust this archive; if it is yours, pack it again from inside the folder",
        )


def _limit_bytes(packed_bytes: int) -> int:
    return packed_bytes * MAX_EXPANSION + 16 * MIB


_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    OSError,  # from bzip2, and where a damaged number points outside the file
    RuntimeError,  # a way of packing that Python does not know
    ValueError,
    struct.error,
)


@contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise UserError("the file may not be read", where=name, hint="check its permissions") from error
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"the zip archive cannot be read ({reason})", where=name, hint=_AGAIN) from error
