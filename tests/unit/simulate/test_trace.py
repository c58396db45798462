"""A step on meta tensors allocates what the engine's real step allocates."""

from itertools import pairwise
from pathlib import Path

import pytest

from studio.core.errors import StudioError
from studio.core.plan import Plan
from studio.models.sites import find_sites
from studio.simulate.emulator import Flavour
from studio.simulate.profile import simulate, undisturbed
from studio.simulate.trace import Trace, trace
from tests.helpers.simulated import Case, measure_peak, planned, single_threaded

CPU = Flavour()
SHALLOW = {"num_hidden_layers": 2}
CASES = (
    Case("llama", precision="bf16", checkpointing=True, changes=SHALLOW),
    Case("llama", precision="bf16", checkpointing=True, changes=SHALLOW | {"vocab_size": 16_384}),
    Case("llama", "full", changes=SHALLOW),
    Case("llama", "prompt-tuning", "bf16", changes=SHALLOW),
    Case("llama", "houlsby-adapter", checkpointing=True, changes=SHALLOW),
    Case("llama", "sparse-mask", params={"count": 5000}, changes=SHALLOW),
    Case("llama", "adalora", changes=SHALLOW),
    Case("bert", precision="bf16", changes=SHALLOW),
    Case("distilbert", "full", changes={"n_layers": 2}),
    Case("qwen2", precision="bf16", packed=True, changes=SHALLOW),
    Case("qwen3_moe", changes=SHALLOW),
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    single_threaded()


def traced(plan: Plan, case: Case, flavour: Flavour = CPU, *, held_out: int = 0) -> Trace:
    with undisturbed():
        return trace(plan, case.shape, flavour, held_out=held_out)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_that_the_simulated_peak_is_that_of_real_steps(case: Case) -> None:
    with planned(case) as plan:
        simulated = traced(plan, case, held_out=case.rows).peak
        measured = measure_peak(plan, case.shape, held_out=case.rows)
    assert simulated == pytest.approx(measured, rel=0.005)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_that_the_gradients_of_earlier_micro_batches_are_counted(checkpointing: bool) -> None:
    case = Case("llama", "full", checkpointing=checkpointing, changes=SHALLOW)
    with planned(case) as plan:
        profile = simulate(plan, length=case.length, trained=case.trained, flavour=CPU)
        foreseen = [sum(profile.over(count).parts(case.rows, 0).values()) for count in (1, 3)]
        measured = [measure_peak(plan, case.shape, held_out=0, micro_batches=count) for count in (1, 3)]
    assert foreseen == pytest.approx(measured, rel=0.005)
    assert foreseen[1] > 1.05 * foreseen[0]


def test_that_the_phases_follow_each_other_and_name_what_they_hold() -> None:
    case = Case("llama", changes=SHALLOW)
    with planned(case) as plan:
        found = traced(plan, case, held_out=case.rows)
    names = [name for name, _ in found.marks]
    assert names == ["load", "attach", "moments", "forward", "backward", "optimizer", "eval"]
    assert all(one <= other for (_, one), (_, other) in pairwise(found.marks))
    at = dict(found.marks)
    held = {
        kind: sum(
            int(found.sizes[abs(event) - 1]) * (1 if event > 0 else -1)
            for event in found.events[: at["backward"]]
            if found.kinds[abs(event) - 1] == kind
        )
        for kind in set(found.kinds)
    }
    assert held["trainable"] == 4 * plan.placements[0].trainable
    assert held["optimizer"] == pytest.approx(8 * plan.placements[0].trainable, rel=0.01)  # and step counts
    assert held["gradients"] == 0
    assert held["logits"] == 0  # they never exist all at once
    assert max(size for size, kind in zip(found.sizes, found.kinds, strict=True) if kind == "logits") == (
        4 * case.rows * case.trained * 1024
    )


def test_that_the_gradients_are_as_large_as_what_is_trained() -> None:
    case = Case("llama", changes=SHALLOW)
    with planned(case) as plan:
        found = traced(plan, case)
    gradients = sum(int(size) for size, kind in zip(found.sizes, found.kinds, strict=True) if kind == "gradients")
    assert gradients == 4 * plan.placements[0].trainable


def test_that_a_step_on_cuda_with_a_mask_and_without_allocates_by_its_kernels() -> None:
    ampere = Flavour("cuda", (8, 0))
    case = Case("olmo2", precision="bf16", changes=SHALLOW, rows=2)
    alone = Case("olmo2", precision="bf16", changes=SHALLOW, rows=1)
    with planned(case) as plan:
        padded, whole = traced(plan, case, ampere), traced(plan, alone, ampere)
        assert padded.peak > whole.peak
        assert traced(plan, alone, Flavour("cuda", (7, 5))).peak != whole.peak


@pytest.mark.parametrize(("method", "factor"), [("lora", 4), ("full", 6)])
def test_that_a_step_computes_so_many_operations_a_weight_and_token(method: str, factor: int) -> None:
    case = Case("llama", method, params={"rank": 2} if method == "lora" else {}, length=32, trained=16, changes=SHALLOW)
    with planned(case) as plan:
        profile = simulate(plan, length=case.length, trained=case.trained, flavour=CPU)
        weights = sum(
            s.d_in * s.d_out for s in find_sites(Path(plan.model_path)) if s.kind == "linear" and s.layer is not None
        )
    each = weights + 192 * 1024 * case.trained / case.length  # the output layer sees the tokens that carry loss
    assert profile.flops_per_token(case.rows) == pytest.approx(factor * each, rel=0.15)


def test_that_recomputing_costs_a_forward_pass_more() -> None:
    flops = []
    for checkpointing in (False, True):
        case = Case("llama", "full", checkpointing=checkpointing, changes=SHALLOW)
        with planned(case) as plan:
            profile = simulate(plan, length=case.length, trained=case.trained, flavour=CPU)
        flops.append(profile.flops_per_token(case.rows))
    assert 1.2 < flops[1] / flops[0] < 1.4


def test_that_what_cannot_be_simulated_is_said_in_words() -> None:
    case = Case("llama", changes=SHALLOW)
    with planned(case) as plan:
        unknown = plan.placements[0].model_copy(update={"use": "nowhere"})
        with pytest.raises(StudioError, match="no method 'nowhere'"):
            traced(plan.model_copy(update={"placements": (unknown,)}), case)
        with pytest.raises(StudioError, match="no such file or folder"):
            simulate(
                plan.model_copy(update={"model_path": f"{plan.model_path}/gone"}),
                length=8,
                trained=4,
                flavour=CPU,
            )
