"""What the Run screen says."""

import math

import pytest

from studio.core.events import EpochEnded, Evaluated, Measured
from studio.core.forecast import MemoryForecast, MemoryParts
from studio.core.state import STATES, RunSnapshot
from studio.gui.plots.series import Series
from studio.gui.screens.live import words
from studio.gui.screens.live.plan_view import comparisons

NOTHING = Series(1)


@pytest.mark.parametrize("state", STATES)
def test_that_resume_and_stop_are_never_offered_together(state: str) -> None:
    can = words.controls(state)
    assert not (can.resume and (can.stop or can.pause or can.save))


def test_that_the_remaining_time_follows_the_pace() -> None:
    assert words.remaining_s(10, 110, 0.5) == 50
    assert words.remaining_s(10, None, 0.5) is None
    assert words.remaining_s(110, 110, 0.5) is None


def test_that_a_lower_loss_and_a_higher_accuracy_are_both_better() -> None:
    evals = [Evaluated(0, 0, {"loss": 2.0, "accuracy": 0.5}, 1), Evaluated(1, 9, {"loss": 1.5, "accuracy": 0.7}, 1)]
    texts = {change.name: change.change_text for change in words.eval_changes(evals)}
    assert texts == {"loss": "−0.5000, better", "accuracy": "+0.2000, better"}


def test_that_one_eval_has_nothing_to_compare_with() -> None:
    (change,) = words.eval_changes([Evaluated(0, 0, {"loss": math.nan}, 1)])
    assert change.change_text == "–"


def test_that_a_run_without_progress_yet_says_what_it_waits_for() -> None:
    snapshot = RunSnapshot(state="starting", phase="loading the model", progress=0.4)
    assert words.phase_text(snapshot) == "loading the model 40%"
    assert words.progress(snapshot, 100) is None


def test_that_an_infinite_loss_is_a_word() -> None:
    assert words.loss_text(math.inf) == "infinite"
    assert words.loss_text(math.nan) == "–"


def series(*points: tuple[float, float]) -> Series:
    made = Series()
    made.extend([x for x, _ in points], [y for _, y in points])
    return made


def measured(**changes: object) -> Measured:
    return Measured(0.0, 100, 10.0, 1.0, 5.0, 12.0, **changes)  # type: ignore[arg-type]


def test_that_energy_comes_from_the_counter_else_from_the_power() -> None:
    running = RunSnapshot(state="running")
    counter, power = series((0, 500), (10, 4100)), series((0, 100), (10, 300), (20, 300))
    assert words.watt_hours(running, counter, power) == 1.0
    assert words.watt_hours(running, NOTHING, power) == pytest.approx((10 * 200 + 10 * 300) / 3600)
    assert words.watt_hours(running, NOTHING, NOTHING) is None


def test_that_a_pause_and_a_counter_that_starts_anew_cost_no_energy() -> None:
    running = RunSnapshot(state="running")
    paused = series((0, 0), (10, 3600), (5000, 99_999), (5010, 103_599))
    assert words.watt_hours(running, paused, NOTHING) == 2.0
    assert words.watt_hours(running, series((0, 7200), (10, 10_800), (20, 0), (30, 3600)), NOTHING) == 2.0
    assert words.watt_hours(running, NOTHING, series((0, 360), (10, 360), (5000, 360))) == 1.0


def test_that_a_finished_runs_energy_is_the_workers() -> None:
    done = RunSnapshot(state="completed", measured=measured())
    assert words.watt_hours(done, series((0, 0), (10, 1)), NOTHING) == 12.0


def test_that_the_meter_is_named_and_sharing_is_told() -> None:
    assert words.meter_text(RunSnapshot(), counter=True) == "energy counter"
    assert words.meter_text(RunSnapshot(), counter=False) == "power readings"
    both = RunSnapshot(measured=measured(energy_method="both", shared=True))
    assert words.meter_text(both, counter=True) == "energy counter and averaged power"
    assert words.is_shared(both)
    assert not words.is_shared(RunSnapshot(measured=measured()))
    shared = RunSnapshot(measured=measured(energy_method="energy counter", shared=True))
    assert comparisons(None, shared)[-1].measured == "12 Wh by energy counter, other programs included"


def test_that_the_last_metered_epoch_is_told() -> None:
    ended = [EpochEnded(0.0, 1, 10, 5.0, 100, 3.21), EpochEnded(0.0, 2, 20, 5.0, 100, None)]
    assert words.epoch_text(ended) == "epoch 1: 3.2 Wh"
    assert words.epoch_text(ended[1:]) == ""


def test_that_memory_below_its_band_is_no_news_before_the_end() -> None:
    forecast = MemoryForecast(total_bytes=2048, low_bytes=1024, high_bytes=3072, parts=MemoryParts())
    assert words.off_forecast(forecast, 2000, over=True) == ""
    assert words.off_forecast(forecast, 512, over=False) == ""
    assert words.off_forecast(forecast, 512, over=True) == "below the forecast: 512 B at its peak"
    assert words.off_forecast(forecast, 4096, over=False) == "above the forecast: 4.00 KiB at its peak"
