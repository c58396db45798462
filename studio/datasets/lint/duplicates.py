"""Rows that say the same as earlier ones, nearly the same, or the same with another answer.

Near duplicates are found by MinHash (Broder 1997) over runs of eight bytes, in bands (Leskovec, Rajaraman and Ullman,
Mining of Massive Datasets, section 3.4); what falls together is then compared exactly. Memory grows by some 40 bytes a
row: signatures lie in a file.
"""

import string
from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from studio.datasets.lint.words import Words
from studio.datasets.split import mixed

LIKE = 0.85  # rows that share so much of their runs are nearly the same
BANDS, HASHES = 8, 5  # finds 99 % of the pairs that are just as alike, and a fifth of those that share half
RUN = 8  # bytes
SAMPLED, FEWEST = np.uint64(3), 32  # a quarter of the runs makes a signature, if these are not too few
LONGEST = 4096  # bytes that are looked at
MOST_LEADERS = 8  # that a row is compared with, of those that fall together
AT_ONCE = 4096  # signatures
_BETWEEN = str.maketrans(dict.fromkeys(string.punctuation, " "))
_FACTORS = mixed(np.arange(BANDS * HASHES, dtype=np.uint64)) | np.uint64(1)
_PLACES = mixed(np.arange(1, HASHES + 1, dtype=np.uint64)) | np.uint64(1)

Indices = NDArray[np.int64]
Hashes = NDArray[np.uint64]


class Pairs(NamedTuple):
    """Rows (N,) and for each the earlier one (N,) that it repeats."""

    rows: Indices
    earlier: Indices


class Seen:
    """What rows say, gathered in one pass; ``file`` is empty, open for reading and writing, and its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rows, self._asked, self._whole = array("q"), array("Q"), array("Q")
        self._waiting: list[Hashes] = []

    def add(self, row: int, words: Words) -> None:
        """The next row, in the order of their numbers."""
        self._rows.append(row)
        self._asked.append(_hash(words.asked))
        self._whole.append(_hash(f"{words.asked}\0{words.answered}"))
        self._waiting.append(signature(words.text))
        if len(self._waiting) == AT_ONCE:
            self._write()

    def repeated(self) -> Pairs:
        """Rows that say the same as an earlier one, but for spaces."""
        order, same = _sorted_by(self._numbers(self._whole))
        again = np.flatnonzero(same) + 1
        first = np.flatnonzero(~same) + 1  # where a group begins, but for the very first
        starts = np.concatenate([[0], first])
        leader = starts[np.searchsorted(starts, again, side="right") - 1]
        rows = self._numbers(self._rows)
        later, earlier = rows[order[again]], rows[order[leader]]
        by_row = np.argsort(later)
        return Pairs(later[by_row], earlier[by_row])

    def contradicted(self) -> Indices:
        """Rows that ask the same as another one and are answered otherwise."""
        order, same = _sorted_by(self._numbers(self._asked))
        whole = self._numbers(self._whole)[order]
        groups = np.concatenate([[0], np.cumsum(~same, dtype=np.int32)])[: len(order)]
        split = np.unique(groups[1:][same & (whole[1:] != whole[:-1])])
        return np.sort(self._numbers(self._rows)[order[np.isin(groups, split)]])

    def nearly_repeated(self, text_of: Callable[[int], str], but: Indices, tick: Callable[[float], None]) -> Pairs:
        """Rows that say nearly the same as an earlier one; ``but`` those that need no comparing.

        ``tick`` is told how much is done, 0..1, and may raise.
        """
        self._write()
        rows = self._numbers(self._rows)
        free = slice(None) if not len(but) else ~np.isin(rows, but)
        found: dict[int, int] = {}
        for band in range(BANDS):
            tick(band / BANDS)
            for together in _falling_together(self._band(band)[free], rows[free]):
                leaders: list[tuple[int, Hashes]] = []
                for row in together:
                    if row in found:
                        continue
                    runs = np.unique(_runs(text_of(row)))
                    like = next((leader for leader, theirs in leaders if _shared(runs, theirs) >= LIKE), None)
                    if like is not None:
                        found[row] = like
                    elif len(leaders) < MOST_LEADERS:
                        leaders.append((row, runs))
                    tick(band / BANDS)
        ordered = sorted(found)
        return Pairs(np.array(ordered, np.int64), np.array([found[row] for row in ordered], np.int64))

    def _write(self) -> None:
        if self._waiting:
            self._file.seek(0, 2)
            self._file.write(np.stack(self._waiting).tobytes())
            self._waiting.clear()

    def _band(self, band: int) -> Hashes:
        """One band of all signatures."""
        self._file.seek(0)
        found, start = np.empty(len(self._rows), np.uint64), 0
        while chunk := self._file.read(8 * BANDS * AT_ONCE):
            part = np.frombuffer(chunk, np.uint64).reshape(-1, BANDS)[:, band]
            found[start : start + len(part)] = part
            start += len(part)
        return found

    @staticmethod
    def _numbers(values: "array[int]") -> NDArray[np.int64]:
        return np.frombuffer(values, np.int64) if len(values) else np.empty(0, np.int64)


def signature(text: str) -> Hashes:
    """One hash for each band (``BANDS``,): where those of two texts are alike, the texts may be."""
    runs = _runs(text)
    sample = runs[runs & SAMPLED == 0]  # the same of the same runs, whatever stands between them
    runs = sample if len(sample) >= FEWEST else runs
    smallest = (runs[:, None] * _FACTORS).min(axis=0).reshape(BANDS, HASHES)
    return mixed((smallest * _PLACES).sum(axis=1))


def _runs(text: str) -> Hashes:
    """Hashes of all runs of bytes of a text, whatever its case and punctuation; at least one."""
    plain = " ".join(text[:LONGEST].casefold().translate(_BETWEEN).split())
    data = plain.encode(errors="replace")[:LONGEST].ljust(RUN)
    runs: Hashes = np.ndarray((len(data) - RUN + 1,), np.uint64, data, strides=(1,))
    return mixed(runs)


def _shared(runs: Hashes, others: Hashes) -> float:
    """Jaccard's index of two sets."""
    both = len(np.intersect1d(runs, others, assume_unique=True))
    return both / (len(runs) + len(others) - both)


def _falling_together(band: Hashes, rows: Indices) -> Iterator[list[int]]:
    """Rows with one hash, where there are several, each group in the order of the rows."""
    order, same = _sorted_by(band)
    # a group is a stretch of neighbours that are the same
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2).tolist():
        yield rows[order[start : end + 1]].tolist()


def _sorted_by(values: NDArray[Any]) -> tuple[Indices, NDArray[np.bool_]]:
    """The order of values (N,), and which of them, so ordered, are the same as the next (N - 1,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, ordered[1:] == ordered[:-1]


def _hash(text: str) -> int:
    plain = " ".join(text.split())
    return int.from_bytes(blake2b(plain.encode(errors="replace"), digest_size=8).digest(), "little")
