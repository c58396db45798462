"""Whether bands learned from finished runs hold what they promise: simulated catalogs, then the rules one by one."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from studio.estimate import EstimateInputs, MeasuredRun, estimate_run
from studio.estimate.history import Correction, correct
from tests.helpers.estimates import gpu, inputs

PRIOR = (0.5, 2.0)
FLOOR = 0.05
RUN = inputs(device=gpu("card"))
MOST_CATALOGS, MOST_RUNS = 2000, 80_000


@dataclass(frozen=True)
class Outcome:
    """The log of measured by predicted of one run, and what kind of run it was."""

    error: float
    method: str = "lora"
    torch: str = "2.13"
    driver: str = "580"


Draw = Callable[[np.random.Generator, int], list[Outcome]]


def lognormal(random: np.random.Generator, count: int) -> list[Outcome]:
    return [Outcome(error) for error in random.normal(0.1, 0.2, count).tolist()]


def skewed(random: np.random.Generator, count: int) -> list[Outcome]:
    return [Outcome(error) for error in random.exponential(0.2, count).tolist()]


def heavy_tailed(random: np.random.Generator, count: int) -> list[Outcome]:
    return [Outcome(0.1 * error) for error in random.standard_t(3, count).tolist()]


def two_methods(random: np.random.Generator, count: int) -> list[Outcome]:
    """Runs of two methods whose means differ, in any order; the next run may be of either."""
    other, errors = (random.random(count) < 0.5).tolist(), random.normal(0.0, 0.15, count).tolist()
    return [Outcome(error + 0.4 * of, "dora" if of else "lora") for of, error in zip(other, errors, strict=True)]


def two_drivers(random: np.random.Generator, count: int) -> list[Outcome]:
    other, errors = (random.random(count) < 0.5).tolist(), random.normal(0.0, 0.15, count).tolist()
    return [Outcome(error + 0.3 * of, driver="570" if of else "580") for of, error in zip(other, errors, strict=True)]


def drifting(random: np.random.Generator, count: int) -> list[Outcome]:
    """Half of the runs came before an update of torch that made all slower; the next run comes after it."""
    before, errors = (count - 1) // 2, random.normal(0.0, 0.15, count).tolist()
    return [Outcome(error, torch="2.12") for error in errors[:before]] + [
        Outcome(error + 0.2) for error in errors[before:]
    ]


DRAWS: tuple[Draw, ...] = (lognormal, skewed, heavy_tailed, two_methods, two_drivers, drifting)
every_draw = pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: draw.__name__)


def learn(past: Sequence[Outcome], wanted: Outcome | None = None) -> Correction:
    """The correction of a run's time after these runs."""
    wanted = wanted or Outcome(0.0)
    history = [finished(outcome) for outcome in past]
    device = RUN.device.model_copy(update={"driver": wanted.driver})
    run = replace(RUN, history=history, device=device, method=wanted.method, torch=wanted.torch)
    return correct(run, lambda each: (each.predicted_seconds_per_step, each.measured_seconds_per_step), PRIOR, FLOOR)


def finished(outcome: Outcome) -> MeasuredRun:
    return MeasuredRun(
        device="card", model_type="llama", precision="bf16", predicted_bytes=1, predicted_seconds_per_step=1.0,
        measured_seconds_per_step=math.exp(outcome.error), method=outcome.method, torch=outcome.torch,
        driver=outcome.driver,
    )  # fmt: skip


@lru_cache
def trial(draw: Draw, count: int) -> tuple[float, float]:
    """The share of next runs inside the band after ``count`` runs, and the band's mean width in logs."""
    random = np.random.default_rng(count)
    inside, width, catalogs = 0, 0.0, min(MOST_CATALOGS, MOST_RUNS // (count + 1))
    for _ in range(catalogs):
        *past, wanted = draw(random, count + 1)
        found = learn(past, wanted)
        inside += found.factor * found.low <= math.exp(wanted.error) <= found.factor * found.high
        width += math.log(found.high / found.low)
    return inside / catalogs, width / catalogs


@pytest.mark.parametrize("count", [8, 12, 20, 50, 200])
@every_draw
def test_that_the_band_holds_nine_next_runs_in_ten(draw: Draw, count: int) -> None:
    assert 0.87 <= trial(draw, count)[0] <= 0.93


@pytest.mark.parametrize("count", range(1, 8))
@every_draw
def test_that_the_band_of_a_few_runs_errs_on_the_wide_side(draw: Draw, count: int) -> None:
    assert trial(draw, count)[0] >= 0.87


@every_draw
def test_that_bands_get_narrower_as_runs_are_added(draw: Draw) -> None:
    widths = [trial(draw, count)[1] for count in (0, 1, 4, 7, 8, 12, 20, 50, 200)]
    assert all(more < fewer for fewer, more in pairwise(widths)), widths


def test_that_a_bias_far_outside_the_prior_is_believed_and_covered() -> None:
    random = np.random.default_rng(0)
    for count in (2, 4, 7, 8, 20):
        trials = [random.normal(math.log(5), 0.1, count + 1) for _ in range(300)]
        bands = [(learn([Outcome(error) for error in errors[:-1]]), errors[-1]) for errors in trials]
        held = [band.factor * band.low <= math.exp(error) <= band.factor * band.high for band, error in bands]
        assert np.mean(held) >= 0.86
        assert all(band.factor > 2 for band, _ in bands)


def test_that_without_runs_the_band_is_the_prior() -> None:
    found = learn([])
    assert (found.factor, found.runs) == (1.0, 0)
    assert (found.low, found.high) == pytest.approx(PRIOR)


def test_that_lopsided_errors_make_a_lopsided_band() -> None:
    errors = np.random.default_rng(1).exponential(0.2, 100).tolist()
    found = learn([Outcome(error) for error in errors])
    assert math.log(found.high) > 2 * -math.log(found.low)


def test_that_runs_of_the_same_method_outweigh_many_of_another() -> None:
    others = [Outcome(0.02 * (at % 5), "dora") for at in range(30)]
    own = [Outcome(0.7 + 0.02 * at) for at in range(4)]
    assert math.log(learn([*others, *own]).factor) == pytest.approx(0.73, abs=0.12)


def test_that_a_method_never_run_has_a_wider_band_than_those_that_were() -> None:
    past = [Outcome(0.01 * (at % 5)) for at in range(30)]
    known, new = learn(past), learn(past, Outcome(0.0, "dora"))
    assert new.low < 0.75 < known.low
    assert new.high > 1.35 > known.high


def test_that_methods_that_agree_make_a_new_one_less_uncertain() -> None:
    one = learn([Outcome(0.01 * (at % 5)) for at in range(30)], Outcome(0.0, "new"))
    six = learn([Outcome(0.01 * (at % 5), f"method {at % 6}") for at in range(30)], Outcome(0.0, "new"))
    assert one.high > six.high > 1.15


def test_that_the_most_similar_enough_runs_are_taken() -> None:
    older = [Outcome(0.5, torch="2.12") for _ in range(20)]
    newer = [Outcome(0.1) for _ in range(8)]
    assert learn([*older, *newer]).runs == 8
    assert learn([*older, *newer[:7]]).runs == 27


def test_that_falling_back_on_another_version_never_narrows_the_band() -> None:
    past = [Outcome(0.02 * (at % 7)) for at in range(12)]
    same, updated = learn(past), learn(past, Outcome(0.0, driver="600"))
    assert updated.low <= same.low
    assert updated.high >= same.high


def agreeing(run: EstimateInputs, count: int = 40, **changes: object) -> list[MeasuredRun]:
    """Runs like this one that measured exactly what the formula says."""
    raw = estimate_run(run).uncorrected
    assert raw is not None
    measured = MeasuredRun(
        device=run.device.name, model_type=run.model.model_type, precision=run.precision,
        predicted_bytes=raw.peak_bytes, predicted_seconds_per_step=raw.seconds_per_step, predicted_watts=raw.watts,
        measured_bytes=raw.peak_bytes, measured_seconds_per_step=raw.seconds_per_step, measured_watts=raw.watts,
    )  # fmt: skip
    return [replace(measured, **changes)] * count  # type: ignore[arg-type]


def test_that_no_band_is_narrower_than_measurements_allow() -> None:
    run = inputs(device=gpu())
    found = estimate_run(replace(run, history=agreeing(run)))
    assert found.memory.high_bytes / found.memory.total_bytes == pytest.approx(1.02, abs=1e-4)
    assert found.time.high / found.time.seconds == pytest.approx(1.05, abs=1e-4)
    watt_hours = found.energy
    assert watt_hours.high is not None
    assert watt_hours.watt_hours is not None
    assert watt_hours.high / watt_hours.watt_hours == pytest.approx(1.05 * 1.11, abs=1e-3)


def test_that_memory_learns_only_from_runs_foreseen_the_same_way() -> None:
    run = inputs()
    raw = estimate_run(run)
    history = agreeing(run, basis="simulated", measured_bytes=3 * raw.memory.total_bytes)
    found = estimate_run(replace(run, history=history))
    assert found.memory == raw.memory
    assert found.time.high / found.time.seconds < raw.time.high / raw.time.seconds


def test_that_learning_from_300_runs_takes_milliseconds() -> None:
    random = np.random.default_rng(3)
    run = inputs()
    history = [
        replace(each, measured_seconds_per_step=float(random.lognormal()), method=f"method {at % 12}")
        for at, each in enumerate(agreeing(run, 300))
    ]
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        estimate_run(replace(run, history=history, method="method 1"))
        best = min(best, time.perf_counter() - began)
    assert best < 0.02
