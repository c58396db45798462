"""Token lengths of a dataset, from a sample of its rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import UserError
from studio.core.facts import LengthFacts
from studio.datasets.encode import Encoded, Encoder
from studio.datasets.store import StoredDataset


def measure_lengths(
    dataset: StoredDataset, encoder: Encoder, indices: Sequence[int] | NDArray[np.int64], sample: int = 256
) -> LengthFacts:
    """Lengths of up to ``sample`` rows, evenly spread over ``indices``; always the same rows."""
    if len(indices) == 0:
        raise UserError("there are no rows to measure", where="data.split.eval", hint="hold out fewer rows")
    positions = np.unique(np.linspace(0, len(indices) - 1, min(sample, len(indices))).round().astype(np.int64))
    encoded = [encoder.encode(dataset.row(int(indices[position]))) for position in positions]
    lengths = np.array([len(row.ids) for row in encoded])
    return LengthFacts(
        sampled=len(encoded),
        mean=float(lengths.mean()),
        p50=int(np.percentile(lengths, 50, method="higher")),
        p95=int(np.percentile(lengths, 95, method="higher")),
        longest=int(lengths.max()),
        trained=float(np.mean([_trained(row) for row in encoded])),
        truncated=sum(row.truncated for row in encoded),
        max_length=encoder.max_length,
    )


def _trained(row: Encoded) -> int:
    """Positions that carry loss: tokens, or the one class of a row."""
    return 1 if row.label is not None else sum(row.trained)
