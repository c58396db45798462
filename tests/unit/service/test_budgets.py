"""Budgets: every method sized below, filled to the last parameter where asked, and refused in words where it cannot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.models.families import FAMILIES
from studio.service.plan_run import plan_run
from tests.helpers import tiny

BUDGET = 6_001


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def spec(llama: Path, tmp_path: Path) -> dict[str, Any]:
    return tiny.questions_spec(llama, tiny.make_questions(tmp_path / "questions.jsonl"))


@pytest.mark.parametrize(
    "uses", [["lora"], ["houlsby-adapter"], ["prompt-tuning"], ["prefix-tuning", "parallel-adapter"]]
)
def test_that_an_exact_budget_is_met_to_the_last_parameter(spec: dict[str, Any], uses: list[str]) -> None:
    spec["method"] = {"placements": [{"use": use} for use in uses], "budget": BUDGET, "exact": True}
    outcome = plan_run(spec)
    assert outcome.plan is not None, outcome.problems
    assert outcome.plan.trainable == BUDGET
    assert [p.use for p in outcome.plan.placements] == [*uses, "sparse-mask"]
    spec["method"]["exact"] = False
    below = plan_run(spec).plan
    assert below is not None
    assert below.trainable == BUDGET - outcome.plan.placements[-1].trainable


def test_that_gates_count_and_share_the_budget(spec: dict[str, Any]) -> None:
    spec["method"] = {"placements": [{"use": "lora", "where": "role in (q, v)", "gate": "input"}], "budget": 3_000}
    plan = plan_run(spec).plan
    assert plan is not None
    placement = plan.placements[0]
    assert placement.gate == "input"
    assert placement.trainable == 4 * 33 + placement.params["rank"] * sum((32 + 32, 32 + 16)) * 2
    assert placement.trainable <= 3_000


def test_that_exactness_without_a_budget_and_one_too_small_are_refused(spec: dict[str, Any]) -> None:
    spec["method"] = {"placements": [{"use": "lora"}], "exact": True}
    assert [p.where for p in plan_run(spec).problems] == ["method.exact"]
    spec["method"] = {"placements": [{"use": "lora"}], "budget": 10, "exact": True}
    problem = plan_run(spec).problems[0]
    assert problem.where == "method.budget"
    assert "the smallest size already has" in problem.message


def test_that_virtual_tokens_count_against_the_positions_of_the_model(spec: dict[str, Any]) -> None:
    spec["method"] = {"placements": [{"use": "prompt-tuning", "params": {"tokens": 20}}]}
    spec["data"]["max_length"] = 250
    problem = plan_run(spec).problems[0]
    assert problem.where == "data.max_length"
    assert problem.hint == "236 at most"


def test_that_a_gate_where_there_is_nothing_to_scale_is_refused(spec: dict[str, Any]) -> None:
    for use in ("prompt-tuning", "prefix-tuning"):
        spec["method"] = {"placements": [{"use": use, "gate": "learned"}]}
        assert [p.where for p in plan_run(spec).problems] == ["method.placements.0.gate"]


def test_that_what_one_placement_leaves_goes_to_the_next(spec: dict[str, Any]) -> None:
    where = "role in (q, v)"
    spec["method"] = {"placements": [{"use": "norm-tuning"}, {"use": "lora", "where": where}], "budget": 3_000}
    plan = plan_run(spec).plan
    assert plan is not None
    norms, lora = plan.placements
    assert norms.trainable == 5 * 32
    per_rank = 2 * (32 + 32 + 32 + 16)
    assert lora.trainable == (3_000 - norms.trainable) // per_rank * per_rank


def test_that_one_of_pefts_methods_is_filled_beside_its_own_sites(spec: dict[str, Any]) -> None:
    spec["method"] = {"placements": [{"use": "peft-loha", "where": "role in (q, v)"}], "budget": 4_001, "exact": True}
    plan = plan_run(spec).plan
    assert plan is not None
    assert plan.trainable == 4_001
    assert not set(plan.placements[0].sites) & set(plan.placements[1].sites)


def test_that_packing_is_refused_where_packed_rows_would_see_each_other(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec["train"]["packing"] = True
    assert plan_run(spec).plan is not None
    assert [name for name in ("opt", "bloom", "falcon", "mpt") if FAMILIES[name].packs] == []
    monkeypatch.setitem(FAMILIES, "llama", replace(FAMILIES["llama"], packs=False))
    assert [problem.where for problem in plan_run(spec).problems] == ["train.packing"]
