"""Rows as token ids, encoded once: kept in files named by what they were made from, read through a memory map."""

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import MachineError, UserError
from studio.core.paths import home
from studio.datasets.encode import Encoded, Encoder
from studio.datasets.store import StoredDataset
from studio.engine.batches import Row

VERSION = 1  # of the files; another one never reads them
MOST_BYTES = 16 * 2**30  # of all kept encodings; beyond, those not used for longest are removed
NO_LABEL = -1
_ARRAYS = {
    "ids": np.int32, "trained": np.bool_, "types": np.int8, "ends": np.int64, "labels": np.int32, "useful": np.bool_,
}  # fmt: skip
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class StoredRows(Sequence[Row]):
    """Some of the encoded rows of a dataset, in an order of their own; made into ``Row`` when they are asked for.

    ``ids``, ``trained`` and ``types`` (empty where there are none) hold all rows end to end; row i ends before
    ``ends[i]``, has ``labels[i]`` and trains something if ``useful[i]``. ``places`` are the rows meant.
    """

    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    types: NDArray[np.int8]
    ends: NDArray[np.int64]
    labels: NDArray[np.int32]
    useful: NDArray[np.bool_]
    places: Indices

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredRows": ...
    def __getitem__(self, index: int | slice) -> "Row | StoredRows":
        if isinstance(index, slice):
            return self.at(self.places[index])
        place = int(self.places[index])
        span = slice(int(self.ends[place - 1]) if place else 0, int(self.ends[place]))
        types = self.types[span].astype(np.int64) if len(self.types) else None
        return Row(self.ids[span].astype(np.int64), np.array(self.trained[span]), int(self.labels[place]), types)

    def completions(self) -> Iterator[NDArray[np.int32]]:
        """Of each row the ids that carry loss, without making the rows."""
        starts, ends = [0, *self.ends.tolist()], self.ends.tolist()
        for place in self.places.tolist():
            span = slice(starts[place], ends[place])
            yield self.ids[span][self.trained[span]]

    def sizes(self) -> tuple[Indices, Indices]:
        """Tokens of each row, and those among them that carry loss, without making the rows."""
        starts = np.concatenate(([0], self.ends[:-1]))
        tokens = self.ends - starts
        filled = starts[tokens > 0]
        trained = np.zeros_like(tokens)
        if len(filled):
            trained[tokens > 0] = np.add.reduceat(self.trained, filled, dtype=np.int64) - self.trained[filled]
        return tokens[self.places], trained[self.places]

    def at(self, places: Indices) -> "StoredRows":
        """The same rows at other places."""
        return replace(self, places=places)


def sizes_of(rows: Sequence[Row]) -> tuple[Indices, Indices]:
    """Tokens of each row, and those among them that carry loss: the first is never predicted."""
    if isinstance(rows, StoredRows):
        return rows.sizes()
    return np.asarray([len(row.ids) for row in rows]), np.asarray([int(row.trained[1:].sum()) for row in rows])


def encode_rows(
    dataset: StoredDataset,
    encoder: Encoder,
    *wanted: Indices,
    progress: Callable[[float], None] = lambda _: None,
) -> list[StoredRows]:
    """The rows at each of the ``wanted`` indices that train something, in their order.

    What was encoded before, of the same data by the same tokenizer and settings, is not encoded again.

    Raises:
        UserError: a row does not encode, or none of the first ``wanted`` trains anything.
        MachineError: the disk has no room for them.
    """
    used = np.unique(np.concatenate(wanted))
    folder = home().cache / "rows" / _name(dataset, encoder, used)
    stored = _open(folder)
    if stored is None:
        _write(folder, dataset, encoder, used, progress)
        _make_room(folder)
        stored = _open(folder)
        if stored is None:
            raise MachineError("the encoded rows cannot be read back", where=str(folder), hint="check the disk")
    places = [np.searchsorted(used, indices) for indices in wanted]
    found = [stored.at(each[stored.useful[each]]) for each in places]
    if len(wanted[0]) and not found[0]:
        raise UserError("no row has a token to train on", where="data", hint="check the completion column")
    return found


def _name(dataset: StoredDataset, encoder: Encoder, used: Indices) -> str:
    whole = len(used) == len(dataset)
    made_from = [
        VERSION, dataset.facts.fingerprint, encoder.fingerprint,
        "all" if whole else hashlib.sha256(used.tobytes()).hexdigest(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]


def _open(folder: Path) -> StoredRows | None:
    """The rows in a folder; None if they are not there whole."""
    try:
        arrays = {name: _map(folder / name, dtype) for name, dtype in _ARRAYS.items()}
    except (FileNotFoundError, NotADirectoryError):
        return None
    rows = StoredRows(**arrays, places=np.arange(len(arrays["ends"])))
    size = int(rows.ends[-1]) if len(rows) else 0
    whole = len(rows.ids) == len(rows.trained) == size and len(rows.types) in (0, size)
    if not whole or not len(rows.labels) == len(rows.useful) == len(rows):
        return None
    os.utime(folder)  # used just now
    return rows


def _map(path: Path, dtype: type[np.generic]) -> Any:
    mapped = np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)
    return np.asarray(mapped)  # of the plain kind, a small piece of which is taken in half the time


def _write(
    folder: Path, dataset: StoredDataset, encoder: Encoder, used: Indices, progress: Callable[[float], None]
) -> None:
    """Encode the rows into a folder beside the wanted one, which then takes its name: whole or not at all."""
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        temporary.mkdir(parents=True)
        with ExitStack() as files:
            out = {name: files.enter_context((temporary / name).open("wb")) for name in _ARRAYS}
            end = 0
            for encoded in _encoded(dataset, encoder, used, progress):
                end += len(encoded.ids)
                label = NO_LABEL if encoded.label is None else encoded.label
                useful = encoded.label is not None or any(encoded.trained[1:])  # the first token is never predicted
                values = (encoded.ids, encoded.trained, encoded.type_ids or (), (end,), (label,), (useful,))
                for (name, dtype), value in zip(_ARRAYS.items(), values, strict=True):
                    out[name].write(np.asarray(value, dtype=dtype).tobytes())
        if folder.exists():  # damaged, or written by another run meanwhile
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        raise MachineError(
            f"the encoded rows cannot be kept: {error.strerror or error}",
            where=str(folder.parent),
            hint="free some space, then start the run again",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _encoded(
    dataset: StoredDataset, encoder: Encoder, used: Indices, progress: Callable[[float], None]
) -> Iterator[Encoded]:
    wanted, reported = set(used.tolist()), time.monotonic()
    for index, row in enumerate(dataset):
        if index not in wanted:
            continue
        try:
            yield encoder.encode(row)
        except UserError as error:
            raise UserError(error.message, where=f"data, row {index + 1}", hint=error.hint) from error
        if time.monotonic() - reported > 0.5:
            progress(index / len(dataset))
            reported = time.monotonic()


def _make_room(kept: Path) -> None:
    """Remove the encodings that were not used for longest, while all together take more than ``MOST_BYTES``."""
    with suppress(FileNotFoundError):  # another run makes room at the same time
        folders = sorted(kept.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in folders}
        total = sum(sizes.values())
        for folder in folders:
            if total > MOST_BYTES and folder != kept:
                total -= sizes[folder]
                shutil.rmtree(folder, ignore_errors=True)  # in use by another run where the system forbids it
