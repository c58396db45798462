"""Copying a plugin out of a folder, zip or wheel: as data, within limits, never outside the target."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from studio.core.errors import UserError
from studio.core.units import MIB, format_bytes

MOST_FILES = 2000
MOST_BYTES = 64 * MIB
ARCHIVES = (".zip", ".whl")
SKIPPED = ("__pycache__", ".git")
_CHUNK_BYTES = MIB


@dataclass(frozen=True)
class _Member:
    """One file to copy: its path inside the source and where its bytes are."""

    path: PurePosixPath
    size_bytes: int
    origin: Path | zipfile.ZipInfo


def unpack(source: Path, target: Path) -> None:
    """Copy every file of a folder, zip or wheel into the new folder ``target``.

    Raises:
        UserError: no such thing, a damaged archive, a link, a path that leaves the target or occurs twice, too many
            files or bytes.
    """
    if source.is_dir():
        _copy(source, list(_in_folder(source)), target, None)
    elif source.suffix.lower() in ARCHIVES and source.is_file():
        try:
            with zipfile.ZipFile(source) as archive:
                _copy(source, list(_in_archive(source, archive)), target, archive)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last: protected by a password
            raise UserError(f"the archive cannot be read: {error}", where=str(source)) from error
    else:
        raise UserError("is no plugin folder, .zip or .whl", where=str(source), hint="check the path")


def _in_folder(source: Path) -> Iterator[_Member]:
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_symlink():
            raise UserError(f"{relative} is a link", where=str(source), hint="put the file itself there")
        if path.is_file() and not any(part in SKIPPED for part in relative.parts):
            yield _Member(PurePosixPath(relative.as_posix()), path.stat().st_size, path)


def _in_archive(source: Path, archive: zipfile.ZipFile) -> Iterator[_Member]:
    for entry in archive.infolist():
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f"{entry.filename!r} is a link", where=str(source))
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{entry.filename!r} is packed in an unusual way", where=str(source))
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or not path.parts or any(_is_unsafe(part) for part in path.parts):
            raise UserError(f"{entry.filename!r} is an unsafe path", where=str(source))
        if not entry.is_dir() and not any(part in SKIPPED for part in path.parts):
            yield _Member(path, entry.file_size, entry)


def _is_unsafe(part: str) -> bool:
    return part == ".." or not part.isprintable() or any(sign in part for sign in '\\:*?"<>|')


def _copy(source: Path, members: list[_Member], target: Path, archive: zipfile.ZipFile | None) -> None:
    total = sum(member.size_bytes for member in members)
    if len(members) > MOST_FILES or total > MOST_BYTES:
        raise UserError(
            f"holds {len(members)} files of {format_bytes(total)}, a plugin may have {MOST_FILES} and "
            f"{format_bytes(MOST_BYTES)}",
            where=str(source),
        )
    target.mkdir(parents=True)
    for member in members:
        place = target / member.path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with _open(member.origin, archive) as origin, place.open("xb") as sink:
                shutil.copyfileobj(origin, sink, _CHUNK_BYTES)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(f"holds {str(member.path)!r} twice", where=str(source)) from error


def _open(origin: Path | zipfile.ZipInfo, archive: zipfile.ZipFile | None) -> IO[bytes]:
    if isinstance(origin, Path):
        return origin.open("rb")
    assert archive is not None
    return archive.open(origin)  # reads no more than the size that was counted, and checks it
