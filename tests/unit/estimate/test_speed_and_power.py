"""Time and energy: tendencies, anchors, and silence where nothing is known."""

from dataclasses import replace

import pytest

from studio.estimate import estimate_run
from studio.estimate.families import family_of
from studio.estimate.footprint import measure_footprint
from studio.estimate.inputs import EstimateInputs
from studio.estimate.speed import Speed, measure_speed, rates_of
from studio.estimate.work import body_params, count_evals, measure_work
from tests.helpers.estimates import big_decoder, cpu, full, gpu, inputs, lengths, lora, small_decoder, small_encoder


def speed(run: EstimateInputs) -> Speed:
    return measure_speed(run, measure_footprint(run.declared, family_of(run.model)))


def step_flops_per_token(run: EstimateInputs) -> float:
    work = measure_work(run, measure_footprint(run.declared, family_of(run.model)))
    return work.step_flops / (run.rows_per_step * 32)


SHORT = lengths(mean=32.0, p50=32, p95=32, longest=32, trained=0.1)  # hardly any attention, hardly any head


@pytest.mark.parametrize(
    ("declared", "checkpointing", "passes"),
    [(lora, False, 4), (lora, True, 6), (full, False, 6), (full, True, 8)],
)
def test_that_a_token_costs_two_operations_per_weight_and_pass(
    declared: object, checkpointing: bool, passes: int
) -> None:
    model = big_decoder()
    run = inputs(
        model, declared=declared(model), checkpointing=checkpointing, lengths=SHORT, max_length=32  # type: ignore[operator]
    )  # fmt: skip
    assert step_flops_per_token(run) == pytest.approx(passes * body_params(run), rel=0.03)


def test_that_embeddings_are_no_work() -> None:
    assert body_params(inputs()) == 134_515_008 - 49_152 * 576
    assert body_params(inputs(big_decoder())) == 6_738_415_616 - 2 * 32_000 * 4096
    encoder = small_encoder()
    run = inputs(encoder, task="classification", declared=lora(encoder, 8, ("q", "v")))
    assert body_params(run) == 22_713_216 - (30_522 + 512) * 384


def test_that_layers_below_the_method_are_gone_through_once() -> None:
    model = big_decoder()
    top = step_flops_per_token(inputs(model, declared=lora(model, lowest=16), lengths=SHORT, max_length=32))
    assert top == pytest.approx(3 * body_params(inputs(model)), rel=0.03)


def test_that_the_starter_decoder_trains_at_some_hundred_tokens_a_second_on_two_cores() -> None:
    run = inputs(lengths=lengths(mean=256.0, p50=256, p95=256, longest=256, trained=20), max_length=256)
    assert 16 * 256 / 800 < speed(run).step < 16 * 256 / 200


def test_that_a_faster_gpu_is_faster_on_a_big_model_and_not_on_a_tiny_one() -> None:
    slow, fast = gpu("NVIDIA GeForce RTX 3060"), gpu("NVIDIA H100 80GB HBM3")
    big = [speed(inputs(big_decoder(), device=device)).step for device in (slow, fast)]
    assert big[0] > 10 * big[1]
    tiny = [speed(inputs(small_decoder(), device=device, micro_batch=1)).step for device in (slow, fast)]
    assert tiny[0] == pytest.approx(tiny[1], rel=0.1), "both wait for their work to be launched"


def test_that_an_unknown_gpu_has_a_wider_band() -> None:
    known, unknown = estimate_run(inputs(device=gpu())).time, estimate_run(inputs(device=gpu("Mystery 1"))).time
    assert not rates_of(gpu("Mystery 1"), "bf16").known
    assert unknown.high / unknown.seconds > known.high / known.seconds


@pytest.mark.parametrize("capability", [None, (5, 2), (7, 0), (8, 6), (12, 0)])
def test_that_any_generation_has_some_rate(capability: tuple[int, int] | None) -> None:
    assert rates_of(gpu("Mystery 1", compute_capability=capability), "fp16").flops > 1e12


@pytest.mark.parametrize(("steps", "every", "evals"), [(60, 20, 4), (50, 20, 4), (1, 20, 2), (10, 100, 2)])
def test_that_evals_are_counted_with_the_first_and_the_last(steps: int, every: int, evals: int) -> None:
    assert count_evals(inputs(steps=steps, eval_every=every, eval_rows=10)) == evals
    assert count_evals(inputs(steps=steps, eval_every=every, eval_rows=0)) == 0


def test_that_evals_and_start_up_are_part_of_the_time() -> None:
    run = inputs()
    bare = estimate_run(run).time
    assert bare.seconds > run.steps * bare.seconds_per_step + 8
    assert estimate_run(replace(run, eval_rows=200)).time.seconds > bare.seconds


def test_that_energy_is_unknown_without_a_meter() -> None:
    energy = estimate_run(inputs(device=cpu(), tariff_per_kwh=0.3, grid_g_per_kwh=400)).energy
    assert (energy.watt_hours, energy.low, energy.high, energy.cost, energy.co2_g) == (None,) * 5


def test_that_energy_lies_between_idle_and_the_limit() -> None:
    estimate = estimate_run(inputs(big_decoder(), device=gpu()))
    assert estimate.energy.watt_hours is not None
    mean_w = estimate.energy.watt_hours * 3600 / estimate.time.seconds
    assert 20 < mean_w < 450


def test_that_cost_and_co2_follow_the_users_figures() -> None:
    energy = estimate_run(inputs(device=gpu(), tariff_per_kwh=0.25, grid_g_per_kwh=400)).energy
    assert energy.watt_hours is not None
    assert energy.cost == pytest.approx(energy.watt_hours / 1000 * 0.25)
    assert energy.co2_g == pytest.approx(energy.watt_hours / 1000 * 400)


def test_that_a_cpu_with_a_meter_has_a_forecast() -> None:
    assert estimate_run(inputs(device=cpu().model_copy(update={"power_limit_w": 65.0}))).energy.watt_hours is not None
