"""A few shallow traces tell the peaks of the whole model for any number of rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.core.plan import Plan, PlannedPlacement
from studio.models.sites import find_sites
from studio.simulate.emulator import Flavour
from studio.simulate.profile import RESERVED_ROWS, is_uniform, simulate, undisturbed
from studio.simulate.stand_in import Shape
from studio.simulate.trace import trace
from tests.helpers.simulated import LINEAR, Case, plan_of, planned, single_threaded

NARROW: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "head_dim": 16, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 256,
}  # fmt: skip
DEEP = {**NARROW, "num_hidden_layers": 8}
BERT = {**DEEP, "num_key_value_heads": 4}
CPU, AMPERE = Flavour(), Flavour("cuda", (8, 0))
UNIFORM = (
    (Case("llama", changes=DEEP, length=32, trained=16), CPU, ((1,), (5, 12))),
    (Case("llama", "full", "bf16", checkpointing=True, changes=DEEP, length=32, trained=16), AMPERE, ((1,), (12,))),
    (Case("llama", packed=True, precision="bf16", changes=DEEP, length=40, trained=16), AMPERE, ((5,),)),
    (Case("llama", packed=True, checkpointing=True, changes=DEEP, length=32, trained=16), CPU, ((12,),)),
    (Case("llama", "adalora", changes=DEEP, length=32, trained=16), CPU, ((5,),)),
    (Case("bert", checkpointing=True, changes=BERT, length=32), CPU, ((12,),)),
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    single_threaded()


def full_depth(plan: Plan, case: Case, flavour: Flavour, length: int) -> int:
    held_out = max(case.rows, 4)
    with undisturbed():
        return trace(plan, replace(case, length=length).shape, flavour, held_out=held_out).peak


@pytest.mark.parametrize(
    ("case", "flavour", "by_profile"), UNIFORM, ids=lambda value: str(getattr(value, "kind", value))
)
def test_that_two_shallow_models_tell_the_peak_of_the_whole_one_to_the_byte(
    case: Case, flavour: Flavour, by_profile: tuple[tuple[int, ...], ...]
) -> None:
    with planned(case) as plan:
        for counts in by_profile:
            profile = simulate(plan, length=case.length, trained=case.trained, flavour=flavour, alone=counts == (1,))
            assert (profile.layers, profile.shallow_layers, profile.deep_layers) == (8, 2, 3)
            for rows in counts:
                foreseen = sum(profile.parts(rows, max(rows, 4)).values())
                whole = full_depth(plan, replace(case, rows=rows), flavour, profile.length)
                assert foreseen == pytest.approx(whole, abs=8)  # each part is rounded


@pytest.fixture(scope="module")
def llama_plan() -> Any:
    with planned(Case("llama", changes=DEEP)) as plan:
        yield plan


def uniform(plan: Plan) -> bool:
    return is_uniform(plan, find_sites(Path(plan.model_path)))


def placed(plan: Plan, where: str, method: str = "lora", **params: Any) -> PlannedPlacement:
    return plan_of(Case("llama", method, where=where, params=params), Path(plan.model_path)).placements[0]


@pytest.mark.parametrize(
    "case",
    [
        Case("llama", length=32, trained=16),
        Case("llama", precision="bf16", packed=True, length=96, trained=2),
    ],
    ids=["logits in parts", "attention to a few rows at a time"],
)
@pytest.mark.parametrize("rows", [2, 5, 300])
def test_that_what_is_made_for_some_rows_at_a_time_stops_growing(case: Case, rows: int) -> None:
    with planned(case) as plan:
        profile = simulate(plan, length=case.length, trained=case.trained, flavour=CPU)
        whole = trace(plan, Shape(rows, case.length, case.trained, uneven=not case.packed), CPU, held_out=rows)
    assert sum(profile.parts(rows, rows).values()) == pytest.approx(whole.peak, rel=1e-3)


def test_that_the_logits_of_held_out_rows_stop_growing() -> None:
    case = Case("llama", checkpointing=True, changes={"vocab_size": 16_384}, length=48, trained=40)
    with planned(case) as plan:
        profile = simulate(plan, length=case.length, trained=case.trained, flavour=CPU)
        whole = trace(plan, Shape(2, case.length, case.trained), CPU, held_out=300)
    foreseen = sum(profile.parts(2, 300).values())
    assert foreseen == pytest.approx(whole.peak, rel=1e-3)
    assert sum(profile.parts(2, 0).values()) < foreseen < 300 * case.trained * 16_384


def test_that_one_method_everywhere_is_uniform(llama_plan: Plan) -> None:
    assert uniform(llama_plan)


@pytest.mark.parametrize("method", ["hft", "telly", "last-block"])
def test_that_a_method_that_chooses_among_blocks_is_not_uniform(llama_plan: Plan, method: str) -> None:
    assert not uniform(plan_of(Case("llama", method), Path(llama_plan.model_path)))


def test_that_a_method_in_some_blocks_is_not_uniform(llama_plan: Plan) -> None:
    plan = llama_plan.model_copy(update={"placements": (placed(llama_plan, f"{LINEAR} and layer >= 4"),)})
    assert not uniform(plan)


def test_that_one_method_with_other_parameters_in_some_blocks_is_not_uniform(llama_plan: Plan) -> None:
    halves = (placed(llama_plan, f"{LINEAR} and layer < 4", rank=2), placed(llama_plan, f"{LINEAR} and layer >= 4"))
    assert not uniform(llama_plan.model_copy(update={"placements": halves}))


def test_that_blocks_without_rotary_positions_are_not_like_those_with_them() -> None:
    with planned(Case("smollm3", changes=DEEP)) as plan:
        assert not uniform(plan)


def test_that_a_model_of_unlike_blocks_is_simulated_in_full_depth() -> None:
    case = Case("gemma3_text", changes=NARROW | {"num_hidden_layers": 6, "sliding_window": 16}, length=32, trained=16)
    with planned(case) as plan:
        profile = simulate(plan, length=case.length, trained=case.trained, flavour=CPU)
        assert (profile.shallow_layers, profile.deep_layers) == (6, 6)
        whole = full_depth(plan, case, CPU, case.length)
    assert sum(profile.parts(case.rows, case.rows).values()) == pytest.approx(whole, abs=8)


def test_that_rows_as_long_as_the_vocabulary_is_large_are_simulated_like_others() -> None:
    case = Case("llama", packed=True, changes=NARROW | {"num_hidden_layers": 2}, length=64, trained=16)
    with planned(case) as plan:
        profile = simulate(plan, length=case.length, trained=case.trained, flavour=AMPERE)
        whole = full_depth(plan, case, AMPERE, case.length)
    assert sum(profile.parts(case.rows, case.rows).values()) == pytest.approx(whole, abs=8)


def test_that_parts_follow_the_rows_and_evaluation_only_counts_where_there_is_some() -> None:
    case = Case("llama", changes=DEEP | {"vocab_size": 4096}, length=32, trained=2)
    with planned(case) as plan:
        profile = simulate(plan, length=case.length, trained=case.trained, flavour=AMPERE)
    none, few, many = (sum(profile.parts(4, rows).values()) for rows in (0, 4, 400))
    assert none == few < many
    by_rows = [profile.parts(rows, 0) for rows in (2, 20, 200)]
    assert by_rows[0]["weights"] == by_rows[2]["weights"]
    assert by_rows[0]["activations"] < by_rows[1]["activations"] < by_rows[2]["activations"]
    assert [rows for rows, _ in profile.reserved] == list(RESERVED_ROWS)
    assert all(1 <= ratio < 2 for _, ratio in profile.reserved)
    assert profile.reserved_by(30) == dict(profile.reserved)[32]
