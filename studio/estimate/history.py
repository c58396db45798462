"""What finished runs say about a forecast's errors: a correction, and how far to trust it."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeGuard

from studio.estimate.inputs import EstimateInputs, MeasuredRun

ENOUGH = 8  # runs: from here on the band is an order statistic of the errors themselves
KNOWN = 3  # runs of one kind that make it a kind whose own errors are known
BOTH_TAILS = 19  # runs of which each 5 % tail holds one, so that the band may be lopsided
KIN_NOISE = 0.5  # the variance of runs of one kind by that of kinds: how many runs the middle of all counts for
COVERAGE = 0.9
PRIOR_RUNS = 3  # runs whose scatter weighs as much as the prior band
DEVIATIONS = 2.0  # half of a 90 % band in standard deviations that a few runs told
KIND = 4  # features that make a run's kind; the rest are versions

Pair = tuple[float | None, float | None]  # predicted, measured
Features = tuple[str, ...]  # precision, attention, method, family; versions of torch and driver
Band = tuple[float, float]  # half-widths below and above the center, in logs


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
    """The correction of one quantity from the runs on this device that are most like this one.

    A run's error is the log of measured by predicted. From ``ENOUGH`` runs on, the band's rank among the distances
    of each run from what the others say of it is that of the jackknife+ (Barber et al., Annals of Statistics 2021);
    with fewer it is the predictive band of a normal whose mean and spread are as uncertain as the prior is wide.
    A kind of run not known yet is foreseen no better than if each kind had but one run.

    Args:
        pair_of: predicted and measured value of a run.
        prior: the band's factors without any run, below and above 1.
        floor: the narrowest half-width that the measurements themselves support (0.05: 5 %).
    """
    kinds = _similar(inputs, pair_of)
    errors = sorted(error for kind in kinds.values() for error in kind)
    kin = kinds.get(_features(inputs)[:KIND], [])
    center = _center(errors, kin)
    if len(errors) < ENOUGH:
        center *= len(errors) / (len(errors) + 1)
        low, high = _predictive(prior, errors)
    else:
        low, high = _jackknife(errors, kinds.values())
    if len(kin) < KNOWN:
        low, high = map(max, (low, high), _predictive(prior, [_middle(kind) for kind in kinds.values()]))
    low, high = (max(half, math.log1p(floor)) for half in (low, high))
    return Correction(math.exp(center), math.exp(-low), math.exp(high), len(errors))


def _similar(inputs: EstimateInputs, pair_of: Callable[[MeasuredRun], Pair]) -> dict[Features, list[float]]:
    """Sorted errors by kind of the runs with most features in common among which there are enough, else of all."""
    wanted = _features(inputs)
    found: list[tuple[int, Features, float]] = []
    for run in inputs.history:
        predicted, measured = pair_of(run)
        if run.device == inputs.device.name and _is_usable(predicted) and _is_usable(measured):
            features = _features(run)
            found.append((_common(features, wanted), features[:KIND], math.log(measured / predicted)))
    found.sort(reverse=True)
    shared = found[ENOUGH - 1][0] if len(found) >= ENOUGH else 0
    kinds: dict[Features, list[float]] = {}
    for common, kind, error in reversed(found):
        if common >= shared:
            kinds.setdefault(kind, []).append(error)
    return kinds


def _features(run: EstimateInputs | MeasuredRun) -> Features:
    """What makes runs alike, the weightiest first: errors differ by kind of run more than by version."""
    if isinstance(run, EstimateInputs):
        family, driver = run.model.model_type, run.device.driver
    else:
        family, driver = run.model_type, run.driver
    return run.precision, run.attention, run.method, family, run.torch, driver


def _common(features: Features, wanted: Features) -> int:
    """How many of the leading features are the same."""
    pairs = zip(features, wanted, strict=True)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(wanted))


def _center(
    errors: Sequence[float], kin: Sequence[float], gone: int | None = None, gone_kin: int | None = None
) -> float:
    """The middle of all errors, moved towards that of the run's own kind the more runs that has; both sorted.

    ``gone``, ``gone_kin``: the places of a run that is left out.
    """
    center = _middle(errors, gone) if errors else 0.0
    count = len(kin) - (gone_kin is not None)
    if count and len(kin) < len(errors):
        center += (_middle(kin, gone_kin) - center) * count / (count + KIN_NOISE)
    return center


def _jackknife(errors: Sequence[float], kinds: Collection[Sequence[float]]) -> Band:
    """Half-widths that 90 % of the distances of runs from what the others say of them stay within."""
    place = {error: at for at, error in enumerate(errors)}
    distances = sorted(
        error - _center(errors, kind, place[error], at) for kind in kinds for at, error in enumerate(kind)
    )
    half = _at_rank(sorted(map(abs, distances)), COVERAGE)
    if len(errors) < BOTH_TAILS:
        return half, half
    low, high = -_at_rank(distances, (1 - COVERAGE) / 2), _at_rank(distances, (1 + COVERAGE) / 2)
    return (low, high) if low + high < 2 * half else (half, half)


def _at_rank(ordered: Sequence[float], share: float) -> float:
    """The value that the next one stays below with a chance of ``share``: that of rank (n + 1) times the share.

    Between two ranks, and just beyond the last, it lies on the line through the two values next to it.
    """
    rank = share * (len(ordered) + 1) - 1
    at = min(int(rank), len(ordered) - 2)
    return ordered[at] + (rank - at) * (ordered[at + 1] - ordered[at])


def _predictive(prior: tuple[float, float], errors: Sequence[float]) -> Band:
    """Half-widths of the next run's band after a few errors: Student's with the prior's conjugate variance.

    Half of the prior's variance is of the mean, half of single runs (Gelman et al., Bayesian Data Analysis, 3.3).
    """
    count = len(errors)
    mean = fmean(errors) if errors else 0.0
    scatter = sum((error - mean) ** 2 for error in errors) + mean**2 * count / (count + 1)

    def half(factor: float) -> float:
        variance = (PRIOR_RUNS * math.log(factor) ** 2 / 2 + DEVIATIONS**2 * scatter) / (PRIOR_RUNS + count)
        return math.sqrt(variance * (1 + 1 / (count + 1)))

    return half(prior[0]), half(prior[1])


def _middle(ordered: Sequence[float], gone: int | None = None) -> float:
    """The median of sorted values, or of all but the one at ``gone``."""
    count = len(ordered) - (gone is not None)
    middle = ((count - 1) // 2, count // 2)
    lower, upper = (ordered[at + (gone is not None and at >= gone)] for at in middle)
    return (lower + upper) / 2


def _is_usable(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and value > 0
