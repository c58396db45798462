"""Reading a dataset's files once, into numbered rows with a fingerprint and a profile of the columns."""

import hashlib
import json
import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from studio.core.errors import UserError
from studio.core.progress import CancelCheck, Progress
from studio.datasets.profile import Profile
from studio.datasets.progress import Meter
from studio.datasets.readers import find_files, read_rows
from studio.datasets.store import INDEX_FILE, OFFSET, ROWS_FILE

TICK_ROWS = 512
MAX_DEPTH = 100  # of lists and objects in a row; Python's own reading and writing stop at some hundreds


@dataclass(frozen=True)
class Ingested:
    """What the reading showed: the columns' profile and the SHA-256 of ``rows.jsonl``."""

    profile: Profile
    fingerprint: str


def ingest(
    source: Path,
    folder: Path,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
    *,
    table: str = "",
) -> Ingested:
    """Write the rows at ``source`` to ``folder``, in one pass over the files."""
    files = find_files(source)
    meter = Meter("reading rows", sum(file.stat().st_size for file in files), progress, cancelled)
    return store_rows(read_rows(files, meter, folder, table), folder, meter, source.name)


def store_rows(rows: Iterator[dict[str, Any]], folder: Path, meter: Meter, name: str) -> Ingested:
    """Write rows to ``folder``; ``name`` is what messages call their source."""
    profile = Profile()
    offsets = array("Q")
    digest = hashlib.sha256()
    position = 0
    with (folder / ROWS_FILE).open("wb") as file:
        for row in rows:
            if profile.rows % TICK_ROWS == 0:
                meter.tick()
            line = _line(row, f"{name}: row {profile.rows + 1}")
            profile.add(row)
            offsets.append(position)
            digest.update(line)
            position += file.write(line)
        _sync(file)
    if not profile.rows:
        raise UserError("the file holds no rows", where=name, hint="choose data with at least one row")
    with (folder / INDEX_FILE).open("wb") as file:
        file.write(np.asarray(offsets, dtype=OFFSET).tobytes())
        _sync(file)
    meter.tick()
    return Ingested(profile, digest.hexdigest())


def _line(row: dict[str, Any], where: str) -> bytes:
    try:
        line = _dump(row).encode() + b"\n"
        if line.count(b"[") + line.count(b"{") > MAX_DEPTH:
            _check_depth(row, where)
        return line
    except UnicodeEncodeError as error:
        raise UserError(
            "a text holds half of a character (a lone surrogate)", where=where, hint="repair the text and add it again"
        ) from error
    except RecursionError:
        _check_depth(row, where)
        raise
    except ValueError:  # infinities that slipped in as huge numbers
        _check_depth(row, where)
        return _dump(_finite(row)).encode() + b"\n"
    except TypeError as error:
        raise UserError(f"a value is no text, number or list: {error}", where=where, hint="drop this column") from error


def _check_depth(row: dict[str, Any], where: str) -> None:
    level: list[Any] = [row]
    for _depth in range(MAX_DEPTH):
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list | tuple)]
        if not level:
            return
    raise UserError("the row is nested too deeply", where=where, hint="flatten the rows")


def _dump(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> str:
    """Times and decimals inside lists and objects, as text."""
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(type(value).__name__)
    return str(value)


def _finite(value: Any) -> Any:
    """Without NaN and infinities, which become missing values."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
