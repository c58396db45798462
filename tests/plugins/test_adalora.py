"""AdaLoRA against peft, its budget, and where it leaves the rank."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

PARAMS = {"rank": 6, "target": 2, "alpha": 12, "interval": 2}
NAMES = {"A": "lora_A.default", "E": "lora_E.default", "B": "lora_B.default"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_it_counts_one_singular_value_per_triplet_more_than_lora() -> None:
    sites = [oracle.linear("a", "q", 768, 768), oracle.linear("b", "down", 3072, 768)]
    assert oracle.count("adalora", {"rank": 12}, sites) == 12 * (2 * 768 + 1 + 3072 + 768 + 1)


def test_that_the_budget_falls_by_the_cubic_schedule() -> None:
    method = oracle.load("adalora")
    params = method.module.Params.model_validate({"rank": 12, "target": 8, "warmup": 0.1, "settle": 0.2})
    steps = (0, 10, 11, 20, 30, 50, 79, 80, 100)
    math = method.math()
    assert math is not None
    assert [math.budget(params, 48, step, 100) for step in steps] == [48, 48, 47, 42, 37, 33, 32, 32, 32]


def test_that_peft_gives_the_same_outputs_losses_and_ranks(model: Path) -> None:
    from peft import AdaLoraConfig

    attached = oracle.tune(model, "adalora", PARAMS)
    config = AdaLoraConfig(
        init_r=6, target_r=2, lora_alpha=12, tinit=2, tfinal=6, deltaT=2, total_step=oracle.STEPS,
        orth_reg_weight=0.1, target_modules=oracle.TARGETS, task_type="CAUSAL_LM",
    )  # fmt: skip
    theirs = oracle.wrap(model, config)
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, NAMES)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))
    for place in attached.places(0):
        layer = theirs.get_submodule(f"base_model.model.{attached.paths[place.site.path]}")
        assert torch.equal(place.tensors["E"] != 0, layer.get_parameter(NAMES["E"]).flatten() != 0)


def test_that_the_target_is_what_is_left_on_average(model: Path) -> None:
    attached = oracle.tune(model, "adalora", PARAMS)
    oracle.our_losses(attached)
    left = [int(place.tensors["E"].count_nonzero()) for place in attached.places(0)]
    assert sum(left) == 2 * len(left)


def test_that_nothing_is_pruned_where_the_target_is_the_rank_at_first(model: Path) -> None:
    attached = oracle.tune(model, "adalora", {**PARAMS, "target": 6})
    oracle.our_losses(attached)
    assert all(place.tensors["E"].count_nonzero() == 6 for place in attached.places(0))


def test_that_rank_goes_where_a_planted_change_lies() -> None:
    """Only the third of four maps differs from the base, by a change of rank six."""
    torch.manual_seed(0)
    method = oracle.load("adalora")
    math, params = method.math(), method.module.Params.model_validate({**PARAMS, "rank": 6, "target": 2})
    assert math is not None
    places = oracle.loose_places(method, params, [oracle.linear(f"map{i}", "q", 16, 16) for i in range(4)])
    change = torch.randn(16, 6) @ torch.randn(6, 16) / 16

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 16)
        merged = [math.merge(params, place.site, place.tensors, torch.zeros(16, 16), None)[0] for place in places]
        return torch.stack([((m - change * (i == 2)) @ x.mT).square().mean() for i, m in enumerate(merged)]).sum()

    oracle.train_loose(math, params, places, loss, steps=200, lr=2e-2)
    left = [int(place.tensors["kept"].sum()) for place in places]
    assert sum(left) == 8
    assert left[2] == 6
