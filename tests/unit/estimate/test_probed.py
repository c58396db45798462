"""A forecast on a probe: the measured figures, their bands, and what stays computed."""

from dataclasses import replace
from typing import Any

import pytest

from studio.estimate import EstimateInputs, MeasuredRun, estimate_run
from studio.estimate.probed import ProbeResult, apply_probe
from studio.estimate.run import EXACT
from studio.estimate.speed import measure_speed
from tests.helpers.estimates import GIB, cpu, gpu, inputs


def result(**changes: Any) -> ProbeResult:
    start = ProbeResult(
        device="Test CPU", made=1_790_000_000.0, steps=3, micro_batch=4, longest_row=480, peak_bytes=3 * GIB,
        peak_phase="backward pass", seconds_per_step=2.0, tokens_per_step=2400.0, seconds_per_longest_step=5.0,
    )  # fmt: skip
    return start.model_copy(update=changes)


def run(basis: str, given: EstimateInputs, measured: int) -> MeasuredRun:
    return MeasuredRun(
        device=given.device.name, model_type="llama", precision=given.precision, predicted_bytes=3 * GIB,
        predicted_seconds_per_step=1.0, measured_bytes=measured, basis=basis,
    )  # fmt: skip


def test_that_memory_is_the_measured_peak_with_five_percent_either_way() -> None:
    given = inputs()
    before = estimate_run(given)
    after = apply_probe(before, result(), given)
    assert after.memory.total_bytes == pytest.approx(3 * GIB, abs=8)
    assert after.memory.low_bytes == pytest.approx(0.95 * 3 * GIB, rel=1e-3)
    assert after.memory.high_bytes == pytest.approx(1.05 * 3 * GIB, rel=1e-3)
    assert after.memory.parts.total == after.memory.total_bytes
    for name in EXACT:
        assert getattr(after.memory.parts, name) == getattr(before.memory.parts, name)
    assert (after.basis, after.fallback) == ("probed", "")
    assert after.evidence == "measured by a probe of 3 steps on 2026-09-21"


def test_that_time_goes_with_the_tokens_of_the_plan() -> None:
    """150 tokens a row on average, 16 rows a step: 2,400 tokens, as many as the probe's steps had."""
    given = inputs(eval_rows=0)
    before = estimate_run(given)
    after = apply_probe(before, result(), given)
    assert after.time.seconds_per_step == pytest.approx(2.0)
    start = before.time.seconds - given.steps * before.time.seconds_per_step
    assert after.time.seconds == pytest.approx(start + given.steps * 2.0)
    assert (after.time.low, after.time.high) == pytest.approx((0.9 * after.time.seconds, 1.1 * after.time.seconds))
    longer = apply_probe(before, result(tokens_per_step=1200.0), given)
    assert longer.time.seconds_per_step == pytest.approx(4.0)
    unmeasured = replace(given, lengths=None)
    assert apply_probe(estimate_run(unmeasured), result(tokens_per_step=1.0), unmeasured).time.seconds_per_step == 2.0


def test_that_evaluations_take_longer_by_as_much_as_steps_do() -> None:
    from studio.estimate.families import family_of
    from studio.estimate.footprint import measure_footprint

    given = inputs(eval_rows=200)
    speed = measure_speed(given, measure_footprint(given.declared, family_of(given.model)))
    after = apply_probe(estimate_run(given), result(seconds_per_step=speed.step * 2), given)
    assert after.time.seconds == pytest.approx(speed.start + 2 * (given.steps * speed.step + speed.evals))


@pytest.mark.parametrize(
    ("peak_gib", "verdict", "fits"), [(20, "fits", True), (23.5, "close", True), (25, "does not fit", False)]
)
def test_that_the_verdict_is_that_of_the_measured_peak(peak_gib: float, verdict: str, fits: bool) -> None:
    given = inputs(device=cpu(free_gib=24))
    before = estimate_run(given)
    after = apply_probe(before, result(peak_bytes=int(peak_gib * GIB)), given)
    assert (after.verdict, after.fits) == (verdict, fits)


def test_that_advice_goes_when_the_run_turns_out_to_fit() -> None:
    given = inputs(device=cpu(free_gib=1))
    before = estimate_run(given)
    assert before.advice
    assert apply_probe(before, result(peak_bytes=GIB // 2), given).advice == ()
    assert apply_probe(before, result(peak_bytes=2 * GIB), given).advice == before.advice


def test_that_energy_is_that_of_the_measured_power() -> None:
    given = inputs(device=gpu(), tariff_per_kwh=0.3, grid_g_per_kwh=400.0)
    after = apply_probe(estimate_run(given), result(watts=250.0), given)
    energy = after.energy
    assert energy.watt_hours is not None
    assert energy.low is not None
    assert energy.high is not None
    assert energy.watt_hours == pytest.approx(after.time.seconds * 250 / 3600)
    assert energy.low < 0.9 * energy.watt_hours < 1.1 * energy.watt_hours < energy.high
    assert energy.cost == pytest.approx(energy.watt_hours * 0.3e-3)
    assert energy.co2_g == pytest.approx(energy.watt_hours * 0.4)


def test_that_without_measured_power_energy_goes_with_the_time_and_is_never_invented() -> None:
    given = inputs(device=gpu())
    before = estimate_run(given)
    after = apply_probe(before, result(), given)
    assert before.energy.watt_hours is not None
    assert after.energy.watt_hours == pytest.approx(before.energy.watt_hours * after.time.seconds / before.time.seconds)
    assert after.energy.cost is None
    unmetered = inputs()
    assert apply_probe(estimate_run(unmetered), result(), unmetered).energy.watt_hours is None


def test_that_only_runs_foreseen_by_a_probe_correct_a_probe() -> None:
    given = inputs()
    formulas = replace(given, history=[run("formula", given, 6 * GIB)] * 10)
    assert apply_probe(estimate_run(formulas), result(), formulas).memory.total_bytes == pytest.approx(3 * GIB, abs=8)
    probes = replace(given, history=[run("probed", given, int(3.1 * GIB))] * 10)
    after = apply_probe(estimate_run(probes), result(), probes).memory
    assert 3 * GIB < after.total_bytes <= 3.1 * GIB + 8


def test_that_what_later_runs_are_compared_with_is_the_probes_peak_and_the_formulas_time() -> None:
    given = inputs()
    before = estimate_run(given)
    after = apply_probe(before, result(), given)
    assert before.uncorrected is not None
    assert after.uncorrected is not None
    assert (after.uncorrected.basis, after.uncorrected.peak_bytes) == ("probed", 3 * GIB)
    assert after.uncorrected.seconds_per_step == before.uncorrected.seconds_per_step


def test_that_a_shared_device_is_told() -> None:
    given = inputs()
    assert "other programs" in apply_probe(estimate_run(given), result(shared=True), given).evidence
