"""From encoded rows to the tensors of each step, in an order that depends on the seed and step alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Row:
    """One encoded row: token ids, which of them carry loss, its class (-1 for none), the text each id is of."""

    ids: NDArray[np.int64]
    trained: NDArray[np.bool_]
    label: int = -1
    type_ids: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Batch:
    """Tensors of one micro-batch, on the device.

    ``ids`` (B, S) and ``mask`` (B, S) or None when rows are packed; ``positions`` (1, S) when packed;
    ``types`` (B, S) for pairs of texts; ``lengths`` of the rows in tokens.
    ``predicts`` (B, S) marks positions whose next token carries loss; ``targets`` (N,) are those tokens in
    reading order, or the B class ids; ``first_targets`` (B,) indexes each row's first entry in ``targets``.
    ``tokens`` counts those that are not padding.
    """

    ids: Tensor
    mask: Tensor | None
    positions: Tensor | None
    types: Tensor | None
    predicts: Tensor | None
    targets: Tensor
    first_targets: Tensor
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def weight(self) -> int:
        """How many terms the loss of this batch sums."""
        return int(self.targets.numel())


def step_rows(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Positions of the rows of optimizer step ``step`` (from 0): epochs are seeded permutations, end to end."""
    chosen: list[int] = []
    position = step * batch
    while len(chosen) < batch:
        epoch, offset = divmod(position, count)
        taken = _order(count, epoch, seed)[offset : offset + batch - len(chosen)].tolist()
        chosen += taken
        position += len(taken)
    return chosen


def _order(count: int, epoch: int, seed: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)


@dataclass(frozen=True)
class Room:
    """What a micro-batch of packed rows may hold: tokens, and tokens that carry loss."""

    tokens: int
    trained: int


def room_of(tokens: NDArray[np.int64], trained: NDArray[np.int64], batch: int, size: int, seed: int) -> Room:
    """What the longest ``size`` rows of a step hold at most, in the first epoch of steps of ``batch`` rows.

    ``tokens`` and ``trained`` (N,) are those of each row.
    """
    order = _order(len(tokens), 0, seed)
    steps = order[: len(order) // batch * batch].reshape(-1, batch) if len(order) >= batch else order[None]
    return Room(*(int(np.sort(each[steps], axis=1)[:, -size:].sum(axis=1).max()) for each in (tokens, trained)))


def micro_batches(rows: Sequence[Row], size: int, room: Room | None = None) -> Iterator[list[Row]]:
    """Rows of like length together, so that little is padded; more than ``size`` where there is ``room`` for them."""
    by_length = sorted(rows, key=lambda row: len(row.ids))
    while by_length:
        count = min(size, len(by_length))
        if room is not None:
            tokens = np.cumsum([len(row.ids) for row in by_length])
            trained = np.cumsum([row.trained[1:].sum() for row in by_length])
            count = max(count, int(np.sum((tokens <= room.tokens) & (trained <= room.trained))))
        yield by_length[:count]
        del by_length[:count]


def collate(rows: Sequence[Row], *, pad_id: int, device: str, packed: bool, classes: bool) -> Batch:
    """The tensors of one micro-batch: padded on the right, or packed end to end with restarted positions."""
    lengths = [len(row.ids) for row in rows]
    if packed:
        ids = np.concatenate([row.ids for row in rows])[None]
        predicts = np.concatenate([_predicting(row) for row in rows])[None]
        positions = torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])[None]).to(device)
        mask = None
    else:
        longest = max(lengths)
        ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
        attended = np.zeros((len(rows), longest), dtype=np.int64)
        predicts = np.zeros((len(rows), longest), dtype=np.bool_)
        for i, row in enumerate(rows):
            ids[i, : lengths[i]] = row.ids
            attended[i, : lengths[i]] = 1
            predicts[i, : lengths[i]] = _predicting(row)
        mask, positions = torch.from_numpy(attended).to(device), None
    if classes:
        targets = np.asarray([row.label for row in rows], dtype=np.int64)
        first = np.arange(len(rows))
    else:
        targets = np.concatenate([row.ids[1:][row.trained[1:]] for row in rows])
        per_row = [int(row.trained[1:].sum()) for row in rows]
        first = np.cumsum([0, *per_row[:-1]])
    return Batch(
        ids=torch.from_numpy(ids).to(device),
        mask=mask,
        positions=positions,
        types=_padded_types(rows, ids.shape, device),
        predicts=None if classes else torch.from_numpy(predicts).to(device),
        targets=torch.from_numpy(targets).to(device),
        first_targets=torch.from_numpy(np.asarray(first, dtype=np.int64)).to(device),
        lengths=tuple(lengths),
    )


def _padded_types(rows: Sequence[Row], shape: tuple[int, ...], device: str) -> Tensor | None:
    if all(row.type_ids is None for row in rows):
        return None
    types = np.zeros(shape, dtype=np.int64)
    for i, row in enumerate(rows):
        if row.type_ids is not None:
            types[i, : len(row.type_ids)] = row.type_ids
    return torch.from_numpy(types).to(device)


def _predicting(row: Row) -> NDArray[np.bool_]:
    """Position i predicts token i + 1; the last position predicts nothing."""
    return np.append(row.trained[1:], False)
