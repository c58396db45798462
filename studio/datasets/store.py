"""A stored dataset: numbered rows in ``rows.jsonl``, found through the byte offsets in ``rows.idx``."""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import UserError
from studio.core.facts import DataFacts

FACTS_FILE = "dataset.json"
ROWS_FILE = "rows.jsonl"
INDEX_FILE = "rows.idx"
OFFSET = np.dtype("<u8")


class Origin(BaseModel):
    """The file or folder a dataset was read from, so that an unchanged one is not read twice.

    ``table`` is the one chosen in a database, empty where there was no choice.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    signature: str
    table: str = ""


class Record(BaseModel):
    """What ``dataset.json`` holds: the facts, and how they came about."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = 1
    facts: DataFacts
    confidence: float = 1.0
    reason: str = ""
    origin: Origin | None = None


@dataclass(frozen=True)
class Detected:
    """How sure the detection of the format was, and why."""

    confidence: float
    reason: str


class StoredDataset:
    """The rows of a dataset folder, read as they are asked for; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._record = read_record(path)
        self._rows_path = path / ROWS_FILE
        try:
            self._offsets = np.fromfile(path / INDEX_FILE, dtype=OFFSET)
            size_bytes = self._rows_path.stat().st_size
        except OSError as error:
            raise _damaged(path, str(error)) from error
        if len(self._offsets) != self.facts.rows or (len(self._offsets) and int(self._offsets[-1]) >= size_bytes):
            raise _damaged(path, f"the index does not fit {ROWS_FILE}")

    @property
    def facts(self) -> DataFacts:
        return self._record.facts

    @property
    def detected(self) -> Detected:
        return Detected(self._record.confidence, self._record.reason)

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._rows_path.open("rb") as file:
            for position, line in enumerate(file):
                yield self._parse(line, position)

    def row(self, index: int) -> dict[str, Any]:
        """Row ``index``, from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self.rows(index, index + 1)[0]

    def rows(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Rows ``start`` up to but not including ``stop``; fewer where the dataset ends."""
        start, stop = max(start, 0), min(stop, len(self))
        if start >= stop:
            return []
        with self._rows_path.open("rb") as file:
            file.seek(int(self._offsets[start]))
            return [self._parse(file.readline(), index) for index in range(start, stop)]

    def _parse(self, line: bytes, index: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _damaged(self.path, f"row {index + 1} is not readable") from error
        if not isinstance(row, dict):
            raise _damaged(self.path, f"row {index + 1} is no object")
        return row


def read_record(path: Path) -> Record:
    """The record of the dataset in ``path``, with the folder's present place in its facts."""
    try:
        record = Record.model_validate_json((path / FACTS_FILE).read_bytes())
    except FileNotFoundError as error:
        raise UserError("there is no dataset in this folder", where=str(path), hint="add the dataset again") from error
    except ValidationError as error:
        raise _damaged(path, f"{FACTS_FILE} is not readable") from error
    return record.model_copy(update={"facts": record.facts.model_copy(update={"path": str(path)})})


def write_record(path: Path, record: Record) -> None:
    """Replace the record of the dataset in ``path``, whole or not at all."""
    temporary = path / f"{FACTS_FILE}.{secrets.token_hex(4)}"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(record.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path / FACTS_FILE)


def _damaged(path: Path, what: str) -> UserError:
    return UserError(
        f"the stored dataset is damaged: {what}",
        where=str(path),
        hint="remove it (pet-studio data remove) and add it again",
    )
