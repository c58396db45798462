"""Which rows train and which are held out."""

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import UserError

Indices = NDArray[np.int64]


def split_rows(rows: int, eval_rows: int, seed: int, max_rows: int | None) -> tuple[Indices, Indices]:
    """Indices of the training rows and of the held-out rows, both in shuffled order.

    ``max_rows`` limits the rows used in all. The held-out rows depend on ``rows`` and ``seed`` alone, so runs
    that use fewer rows are measured on the same ones. The same arguments give the same split on every machine.
    """
    used = rows if max_rows is None else min(rows, max_rows)
    if eval_rows >= used:
        raise UserError(
            f"{eval_rows} rows are to be held out of {used}, which leaves none to train on",
            where="data.split.eval",
            hint=f"hold out at most {used - 1}" if used > 1 else "use a dataset with more rows",
        )
    order = _shuffled(rows, seed)
    return order[eval_rows:used], order[:eval_rows]


def _shuffled(rows: int, seed: int) -> Indices:
    """A shuffle by hashed row numbers: unlike numpy's generators, never changed by a new version."""
    keys = mixed(np.arange(rows, dtype=np.uint64) + mixed(np.array([seed], dtype=np.uint64)))
    return np.argsort(keys, kind="stable").astype(np.int64)


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finalizer, which maps different numbers to different, unrelated ones."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
