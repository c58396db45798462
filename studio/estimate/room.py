"""The most that still fits: rows at once, tokens per row."""

from collections.abc import Callable
from dataclasses import replace

from studio.core.forecast import Room
from studio.estimate.batches import trained_share
from studio.estimate.inputs import EstimateInputs
from studio.estimate.needs import Needs

MOST_ROWS, LONGEST = 4096, 1 << 20
SHORTEST, LENGTH_STEP = 64, 64  # tokens

Fits = Callable[[int], bool]


def find_room(needs: Needs, fits: Fits) -> Room:
    """The largest micro-batch at the run's length and accumulation, and the longest rows at its micro-batch.

    Args:
        fits: whether a run with this many bytes, before corrections, fits the device.
    """
    inputs = needs.inputs
    longest = min(inputs.model.max_positions or LONGEST, LONGEST)
    return Room(
        micro_batch=_largest(1, MOST_ROWS, lambda rows: fits(needs.bytes_of(replace(inputs, micro_batch=rows)))),
        max_length=_longest(needs, fits, longest),
    )


def with_length(inputs: EstimateInputs, length: int) -> EstimateInputs:
    """The same run over rows that are all as long, of which as large a part carries loss."""
    measured = {"mean": length, "p50": length, "p95": length, "longest": length, "max_length": length}
    trained = {"trained": trained_share(inputs) * length}
    lengths = inputs.lengths and inputs.lengths.model_copy(update=measured | trained)
    return replace(inputs, max_length=length, lengths=lengths)


def _longest(needs: Needs, fits: Fits, longest: int) -> int:
    steps = _largest(
        SHORTEST // LENGTH_STEP,
        longest // LENGTH_STEP,
        lambda step: fits(needs.bytes_of(with_length(needs.inputs, step * LENGTH_STEP))),
    )
    return steps * LENGTH_STEP


def _largest(least: int, most: int, holds: Callable[[int], bool]) -> int:
    """The largest number for which ``holds``, which is true up to some number; 0 if it is not even for the least."""
    if most < least or not holds(least):
        return 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if holds(middle) else (least, middle - 1)
    return least
