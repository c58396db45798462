"""The shapes of batches, from what is known about the lengths of rows."""

import math
from dataclasses import dataclass

from studio.core.facts import LengthFacts
from studio.estimate.inputs import EstimateInputs

SMALLEST_EVAL_BATCH = 4  # rows that the worker evaluates at once at least


@dataclass(frozen=True)
class Batch:
    """One micro-batch as it lies in memory; ``trained`` of its ``tokens`` carry loss.

    Rows have ``length`` tokens of their own and ``virtual`` ones, which makes their ``width``. ``packed``: they lie
    end to end in one row.
    """

    rows: int
    length: int
    trained: float
    virtual: int = 0
    packed: bool = False

    @property
    def width(self) -> int:
        return self.length + self.virtual

    @property
    def tokens(self) -> int:
        return self.rows * self.width


def largest_batch(inputs: EstimateInputs) -> Batch:
    """The micro-batch that needs most memory in the whole run."""
    seen = min(max(inputs.train_rows, 1), inputs.steps * inputs.rows_per_step)
    longest = length_at(inputs, seen / (seen + 1))
    if not inputs.packing:
        return _shape(inputs, inputs.micro_batch, longest)
    step = inputs.rows_per_step
    next_ones = (length_at(inputs, (step - i) / (step + 1)) for i in range(1, inputs.micro_batch))
    return _shape(inputs, inputs.micro_batch, (longest + sum(next_ones)) / inputs.micro_batch)


def largest_eval_batch(inputs: EstimateInputs) -> Batch:
    """The batch of held-out rows that needs most memory; evaluation never packs."""
    rows = min(max(inputs.micro_batch, SMALLEST_EVAL_BATCH), max(inputs.eval_rows, 1))
    return _shape(inputs, rows, length_at(inputs, inputs.eval_rows / (inputs.eval_rows + 1)), packed=False)


def tokens_per_step(inputs: EstimateInputs) -> float:
    """Tokens that one optimizer step computes on average, padding included.

    The worker sorts the rows of a step by length, so a micro-batch is as long as its last row.
    """
    rows = inputs.rows_per_step
    if inputs.packing:
        return rows * mean_length(inputs)  # without virtual tokens: methods that have them need rows apart
    lasts = range(min(inputs.micro_batch, rows), rows + 1, inputs.micro_batch)
    return sum(inputs.micro_batch * (length_at(inputs, last / (rows + 1)) + inputs.extra_tokens) for last in lasts)


def mean_length(inputs: EstimateInputs) -> float:
    """Mean tokens of a row; the longest allowed when the data was not measured."""
    return inputs.lengths.mean if inputs.lengths else float(inputs.max_length)


def trained_share(inputs: EstimateInputs) -> float:
    """Share of tokens that carry loss."""
    lengths = inputs.lengths
    return min(1.0, lengths.trained / lengths.mean) if lengths and lengths.mean > 0 else 1.0


def length_at(inputs: EstimateInputs, share: float) -> float:
    """The length that this share of rows does not exceed: exact at the measured quantiles, linear between."""
    lengths = inputs.lengths
    if lengths is None:
        return float(inputs.max_length)
    if share > 0.95:
        return min(float(inputs.max_length), _tail(lengths, share))
    if share > 0.5:
        return lengths.p50 + (lengths.p95 - lengths.p50) * (share - 0.5) / 0.45
    shortest = _shortest(lengths)
    return shortest + (lengths.p50 - shortest) * share / 0.5


def _tail(lengths: LengthFacts, share: float) -> float:
    """Exponential tail through the 95th percentile and the longest of the sampled rows, and beyond it."""
    beyond, sampled = 1 - share, 1 / (lengths.sampled + 1)
    if beyond <= 0 or sampled >= 0.05:
        return float(lengths.longest)
    return lengths.p95 + (lengths.longest - lengths.p95) * math.log(0.05 / beyond) / math.log(0.05 / sampled)


def _shortest(lengths: LengthFacts) -> float:
    """The lower end that gives the piecewise-linear curve its measured mean."""
    upper = 0.225 * (lengths.p50 + lengths.p95) + 0.025 * (lengths.p95 + lengths.longest)
    return min(float(lengths.p50), max(1.0, (lengths.mean - upper) / 0.25 - lengths.p50))


def _shape(inputs: EstimateInputs, rows: int, length: float, *, packed: bool | None = None) -> Batch:
    """Rows of ``length``, packed as the run packs them unless said otherwise."""
    whole = math.ceil(length)
    trained = min(1.0, trained_share(inputs)) * rows * whole
    return Batch(rows, whole, trained, inputs.extra_tokens, inputs.packing if packed is None else packed)
