"""The most that fits, and changes that would fit: each tried out, against the formula and a simulation."""

import math
from dataclasses import replace

import pytest

from studio.api import ParamDecl
from studio.estimate import EstimateInputs, estimate_run
from studio.estimate.advice import advise, with_rows
from studio.estimate.inputs import Precision
from studio.estimate.needs import Needs
from studio.estimate.profile import MemoryProfile, Moment, Operations, Polynomial, Segment
from studio.estimate.room import LENGTH_STEP, MOST_ROWS, find_room, with_length
from tests.helpers.estimates import GIB, big_decoder, cpu, gpu, inputs, sites

KINDS = ("weights", "trainable", "gradients", "optimizer", "activations", "logits", "workspace")
MIB = 1 << 20
FLAT: Polynomial = (MIB, 0.0, 0.0)


def moment(activations: Polynomial, gradients: int = 0) -> Moment:
    held = {"activations": activations, "gradients": (float(gradients), 0.0, 0.0)}
    return Moment(kinds={kind: held.get(kind, FLAT) for kind in KINDS})


def simulated(*, alone: bool = False) -> MemoryProfile:
    """A step of 30 blocks: 64 MiB a row at the loss; gradients of 512 MiB from there on."""
    each = (100.0 * MIB, 64.0 * MIB, 0.0)
    loss, later, update = moment(each), moment(each, 512 * MIB), moment(FLAT, 512 * MIB)
    held_out = moment((0.0, 8.0 * MIB, 0.0))
    return MemoryProfile(
        layers=30, shallow_layers=30, deep_layers=30, alone=alone, length=480,
        segments=(
            Segment(name="forward", shallow=(loss,), deep=(loss,)),
            Segment(name="forward", accumulating=True, shallow=(later,), deep=(later,)),
            Segment(name="optimizer", shallow=(update,), deep=(update,)),
            Segment(name="eval", shallow=(held_out,), deep=(held_out,)),
        ),
        operations=Operations(shallow=(0.0, 1e12, 0.0), deep=(0.0, 1e12, 0.0)),
    )  # fmt: skip


RUNS = {
    "small on a CPU": (inputs(device=cpu(8)), None),
    "small on a GPU": (inputs(device=gpu(gib=12)), None),
    "large on a GPU": (inputs(big_decoder(), device=gpu(gib=40)), None),
    "packed": (inputs(device=gpu(), packing=True, checkpointing=True), None),
    "simulated": (inputs(device=gpu()), simulated()),
    "simulated, accumulating": (inputs(device=gpu(), micro_batch=2, accumulation=8, eval_rows=50), simulated()),
    "one row, simulated": (inputs(device=gpu(), micro_batch=1, accumulation=16), simulated(alone=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("spare", [1.0, 1.3, 3.0])
def test_that_one_row_or_step_of_length_more_than_there_is_room_for_does_not_fit(name: str, spare: float) -> None:
    run, profile = RUNS[name]
    needs = Needs(run, profile)
    limit = needs.parts.total * spare + 1

    def fits(bytes_: int) -> bool:
        return bytes_ < limit

    room = find_room(needs, fits)
    assert run.micro_batch <= room.micro_batch < MOST_ROWS
    assert fits(needs.bytes_of(replace(run, micro_batch=room.micro_batch)))
    assert not fits(needs.bytes_of(replace(run, micro_batch=room.micro_batch + 1)))
    assert fits(needs.bytes_of(with_length(run, room.max_length)))
    if room.max_length + LENGTH_STEP <= run.model.max_positions:
        assert not fits(needs.bytes_of(with_length(run, room.max_length + LENGTH_STEP)))


def test_that_the_room_for_a_simulated_run_is_that_of_its_profile() -> None:
    run, profile = inputs(device=gpu(), micro_batch=2, accumulation=8), simulated()
    context_and_library = (512 + 32) * MIB
    flat = 5 * MIB  # the kinds that do not grow
    alone = replace(run, accumulation=1, effective_batch=2)  # the gradients of no earlier micro-batch are held
    for rows in (2, 10, 33):
        limit = context_and_library + flat + (100 + 64 * rows + 512) * MIB
        fits = limit.__ge__
        assert find_room(Needs(run, profile), fits).micro_batch == rows
        assert find_room(Needs(alone, profile), fits).micro_batch == rows + 8


def test_that_there_is_no_room_where_nothing_fits_and_all_where_everything_does() -> None:
    run = inputs(device=gpu())
    none, all_ = find_room(Needs(run), lambda bytes_: False), find_room(Needs(run), lambda bytes_: True)
    assert (none.micro_batch, none.max_length) == (0, 0)
    assert (all_.micro_batch, all_.max_length) == (MOST_ROWS, run.model.max_positions)


@pytest.mark.parametrize("name", RUNS)
def test_that_a_run_which_fits_has_room_for_itself(name: str) -> None:
    run, profile = RUNS[name]
    estimate = estimate_run(run, profile)
    assert estimate.fits
    assert estimate.room is not None
    assert run.lengths is not None
    assert estimate.room.micro_batch >= run.micro_batch
    assert estimate.room.max_length > run.lengths.longest - LENGTH_STEP


def tight(run: EstimateInputs, profile: MemoryProfile | None, share: float) -> Needs:
    total = estimate_run(run, profile).memory.total_bytes
    device = run.device.model_copy(update={"free_bytes": int(total * share), "total_bytes": 2 * total})
    return Needs(replace(run, device=device), profile)


def changed(run: EstimateInputs, patch: dict[str, object]) -> EstimateInputs:
    """The run with the patch of an advice, as a spec would carry it."""
    for path, value in patch.items():
        if path == "train.micro_batch":
            assert isinstance(value, int)
            run = with_rows(run, value)
        elif path == "train.checkpointing":
            run = replace(run, checkpointing=value is True)
        elif path == "train.precision":
            half: Precision = "bf16" if value == "bf16" else "fp16"
            run = replace(run, precision=half)
        elif path == "data.max_length":
            assert isinstance(value, int)
            run = replace(run, max_length=value)
        else:
            half_up = run.model.layers // 2
            run = replace(run, declared=[pair for pair in run.declared if (pair[0].layer or 0) >= half_up])
    return run


@pytest.mark.parametrize("share", [0.95, 0.8, 0.6])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_that_each_advice_saves_what_the_changed_run_then_needs_less(share: float, precision: Precision) -> None:
    run = inputs(device=gpu(), micro_batch=8, accumulation=2, precision=precision, wheres=("kind == linear",))
    needs = tight(run, None, share)
    limit = needs.inputs.device.free_bytes
    found = advise(needs, lambda bytes_: bytes_ < limit)
    assert len(found) >= 4
    for advice in found:
        after = Needs(changed(needs.inputs, advice.patch)).parts.total
        assert advice.saves_bytes == needs.parts.total - after > 0
        assert advice.fits == (after < limit)
    assert [advice.fits for advice in found] == sorted((advice.fits for advice in found), reverse=True)


def test_that_a_smaller_simulated_micro_batch_saves_what_its_own_simulation_says() -> None:
    run, profile = inputs(device=gpu(), micro_batch=8, accumulation=2), simulated()
    needs = Needs(run, profile)
    limit = needs.parts.total - 3 * 64 * MIB
    advice = next(a for a in advise(needs, lambda bytes_: bytes_ <= limit) if "train.micro_batch" in a.patch)
    assert (advice.patch, advice.fits, advice.saves_bytes) == ({"train.micro_batch": 4}, True, 4 * 64 * MIB)
    assert needs.parts.total - Needs(with_rows(run, 4), profile).parts.total == advice.saves_bytes


def test_that_splitting_a_step_which_was_one_micro_batch_counts_the_gradients_held_meanwhile() -> None:
    run, profile = inputs(device=gpu(), micro_batch=16, accumulation=1), simulated()
    needs = Needs(run, profile)
    assert needs.parts.gradients == 0
    assert needs.parts.total - needs.bytes_of(with_rows(run, 4)) == (12 * 64 - 512) * MIB


def test_that_what_a_profile_does_not_cover_differs_by_what_the_formula_says() -> None:
    run, profile = inputs(device=gpu(), micro_batch=4), simulated()
    needs, formula = Needs(run, profile), Needs(run)
    for other in (replace(run, checkpointing=True), with_rows(run, 1), replace(run, max_length=128)):
        assert needs.parts.total - needs.bytes_of(other) == formula.parts.total - formula.bytes_of(other) > 0


def test_that_recomputation_is_slower_and_half_precision_on_a_gpu_is_not() -> None:
    run = inputs(big_decoder(), device=gpu(), micro_batch=8, precision="fp32")
    needs = Needs(run)
    assert 1.1 < needs.slower(replace(run, checkpointing=True)) < 1.6
    assert needs.slower(run) == 1
    assert needs.slower(replace(run, precision="bf16")) < 1
    limit = needs.parts.total // 2
    by_patch = {tuple(advice.patch): advice for advice in advise(needs, lambda bytes_: bytes_ < limit)}
    assert (by_patch["train.checkpointing",].slower or 0) > 1
    assert (by_patch["train.micro_batch",].slower or 0) >= 1


def test_that_one_row_with_recomputation_is_advised_only_where_neither_is_enough() -> None:
    run = inputs(big_decoder(), device=gpu(), micro_batch=8)
    needs = Needs(run)
    each = [needs.bytes_of(other) for other in (replace(run, checkpointing=True), with_rows(run, 1))]
    both = {"train.micro_batch", "train.checkpointing"}
    assert not any(set(advice.patch) == both for advice in advise(needs, lambda bytes_: bytes_ <= min(each)))
    assert any(set(advice.patch) == both for advice in advise(needs, lambda bytes_: bytes_ < min(each)))
    assert needs.parts.total > 13 * GIB


def test_that_fewer_bits_are_offered_where_the_matrices_are_frozen_and_in_full() -> None:
    model = big_decoder()
    run = inputs(model, device=gpu(gib=12), packable=sites(model), formats=("int8", "nf4"))
    needs = Needs(run)
    offered = {str(advice.patch["train.quantization"]): advice for advice in advise(needs, lambda _: False)
               if "train.quantization" in advice.patch}  # fmt: skip
    saved = sum(math.prod(site.shape) for site in sites(model)) * run.width
    assert 0.4 * saved < offered["int8"].saves_bytes < 0.5 * saved
    assert 0.65 * saved < offered["nf4"].saves_bytes < 0.75 * saved
    assert all(1 <= advice.slower < 1.5 for advice in offered.values())
    trained = tuple((site, (ParamDecl("weight", site.shape, base="weight"),)) for site in sites(model))
    for other in (replace(run, quantization="int8"), replace(run, declared=trained), replace(run, formats=())):
        assert not any("train.quantization" in advice.patch for advice in advise(Needs(other), lambda _: False))
