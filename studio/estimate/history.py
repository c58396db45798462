"""What finished runs say about the formula's errors: a correction, and how far to trust it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from studio.estimate.inputs import EstimateInputs, MeasuredRun

CONFORMAL_FROM = 8  # runs: from here on the band is an order statistic of the residuals themselves
COVERAGE = 0.9
ENOUGH = 3  # runs of one kind that make wider comparisons needless
NORMAL_90 = 1.645 * 1.4826  # 90 % of a normal, in median absolute deviations

Pair = tuple[float | None, float | None]  # predicted, measured


@dataclass(frozen=True)
class Correction:
    """Multiply a prediction by ``factor``; 90 % of outcomes lie between ``low`` and ``high`` times the result."""

    factor: float
    low: float
    high: float
    runs: int


def correct(
    inputs: EstimateInputs, pair_of: Callable[[MeasuredRun], Pair], prior: tuple[float, float], floor: float
) -> Correction:
    """The correction of one quantity from the runs most like this one.

    Args:
        pair_of: predicted and measured value of a run.
        prior: the band's factors without any run, below and above 1.
        floor: the narrowest half-width that the measurements themselves support (0.05: 5 %).
    """
    residuals = _residuals(_similar(inputs, pair_of), pair_of)
    count = len(residuals)
    if not count:
        return Correction(1.0, prior[0], prior[1], 0)
    trust = count / (count + 1)
    center = trust * median(residuals)
    if count >= CONFORMAL_FROM:
        spread = _conformal([abs(residual - center) for residual in residuals])
        low = high = max(spread, math.log1p(floor))
    else:
        spread = NORMAL_90 * median(abs(residual - median(residuals)) for residual in residuals)
        low = max(spread, -math.log(prior[0]) / math.sqrt(1 + count), math.log1p(floor))
        high = max(spread, math.log(prior[1]) / math.sqrt(1 + count), math.log1p(floor))
    return Correction(math.exp(center), math.exp(-low), math.exp(high), count)


def _conformal(distances: Iterable[float]) -> float:
    """The distance that covers the next run with 90 % chance; the largest while there are too few to say."""
    ordered = sorted(distances)
    return ordered[min(len(ordered), math.ceil((len(ordered) + 1) * COVERAGE)) - 1]


def _similar(inputs: EstimateInputs, pair_of: Callable[[MeasuredRun], Pair]) -> Sequence[MeasuredRun]:
    """Runs of this device, family and precision if there are enough, else of ever fewer in common."""
    runs = [run for run in inputs.history if run.device == inputs.device.name and _is_usable(pair_of(run))]
    same_precision = [run for run in runs if run.precision == inputs.precision]
    same_model = [run for run in same_precision if run.model_type == inputs.model.model_type]
    for group in (same_model, same_precision):
        if len(group) >= ENOUGH:
            return group
    return same_model or same_precision or runs


def _residuals(runs: Sequence[MeasuredRun], pair_of: Callable[[MeasuredRun], Pair]) -> list[float]:
    pairs = [pair_of(run) for run in runs]
    return [math.log(measured / predicted) for predicted, measured in pairs if predicted and measured]


def _is_usable(pair: Pair) -> bool:
    return all(value is not None and math.isfinite(value) and value > 0 for value in pair)
