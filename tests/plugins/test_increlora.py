"""IncreLoRA: how the rank grows, where it goes, and that what is left out does nothing."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from studio.api import Place
from studio.engine.merge import merge_into_base
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

PARAMS = {"rank": 4, "alpha": 4, "matrices": 2}
STEPS = 40


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def ranks(places: list[Place]) -> list[int]:
    return [int(place.tensors["rank"]) for place in places]


def test_that_all_room_is_counted() -> None:
    sites = [oracle.linear("a", "q", 768, 768), oracle.linear("b", "down", 3072, 768)]
    assert oracle.count("increlora", {"rank": 2, "room": 1.5}, sites) == 3 * (2 * 768 + 1 + 3072 + 768 + 1)


def test_that_the_total_rank_grows_to_the_budget_and_stays(model: Path) -> None:
    attached = oracle.tune(model, "increlora", {**PARAMS, "room": 4})
    places = attached.places(0)
    math, params = attached.placed[0].method.math(), attached.placed[0].params
    assert math is not None
    growths = math.growth_steps(params, places, STEPS)
    totals = oracle.watched(attached, STEPS, lambda: sum(ranks(places)))
    events = [min(len([s for s in growths if s <= step]), 5) for step in range(1, STEPS + 1)]
    assert totals == [min(6 + 2 * 2 * event, 4 * 6) for event in events]
    assert totals[round(0.5 * STEPS)] == 4 * 6
    assert len(set(ranks(places))) > 1


def test_that_no_matrix_outgrows_its_room(model: Path) -> None:
    attached = oracle.tune(model, "increlora", {**PARAMS, "room": 1.25, "matrices": 1})
    oracle.our_losses(attached, steps=STEPS)
    assert sorted(ranks(attached.places(0))) == [1, 3, 5, 5, 5, 5]


def test_that_components_out_of_use_do_nothing_in_the_end(model: Path) -> None:
    attached = oracle.tune(model, "increlora", PARAMS)
    oracle.our_losses(attached, steps=STEPS)
    math, params = attached.placed[0].method.math(), attached.placed[0].params
    assert math is not None
    for place in attached.places(0):
        rank = int(place.tensors["rank"])
        assert place.tensors["E"].count_nonzero() == rank
        a, b, scale = math.lora_factors(params, place.site, place.tensors)
        assert a.shape[0] == b.shape[1] == rank
        assert scale == pytest.approx(4 / rank)
    tuned = oracle.logits(attached.model)
    assert (oracle.logits(merge_into_base(attached)) - tuned).abs().max().item() < 1e-5


def test_that_a_reserve_is_hardly_felt_and_the_start_is_exact(model: Path) -> None:
    attached = oracle.tune(model, "increlora", PARAMS)
    assert all(not place.tensors["E"].any() for place in attached.places(0))
    oracle.our_losses(attached, steps=1)
    for place in attached.places(0):
        assert place.tensors["E"][1:3].tolist() == pytest.approx([1e-5, 1e-5])
        assert not place.tensors["E"][3:].any()


def test_that_all_matrices_growing_at_once_end_with_one_rank(model: Path) -> None:
    attached = oracle.tune(model, "increlora", {**PARAMS, "rank": 3, "matrices": 100})
    oracle.our_losses(attached, steps=STEPS)
    assert ranks(attached.places(0)) == [3] * 6


def test_that_nothing_grows_where_the_target_is_rank_one(model: Path) -> None:
    attached = oracle.tune(model, "increlora", {**PARAMS, "rank": 1})
    oracle.our_losses(attached, steps=STEPS)
    assert ranks(attached.places(0)) == [1] * 6


def test_that_rank_goes_where_a_planted_change_lies() -> None:
    """Two of four maps differ from the base, by changes of rank six."""
    torch.manual_seed(0)
    method = oracle.load("increlora")
    math, params = method.math(), method.module.Params.model_validate({"rank": 4, "alpha": 4, "matrices": 1})
    assert math is not None
    places = oracle.loose_places(method, params, [oracle.linear(f"map{i}", "q", 16, 16) for i in range(4)])
    changes = [torch.randn(16, 6) @ torch.randn(6, 16) / 4 * (i >= 2) for i in range(4)]

    def loss(step: int) -> Tensor:
        x = torch.randn(64, 16)
        errors = [
            (math.merge(params, p.site, p.tensors, torch.zeros(16, 16), None)[0] - change) @ x.mT
            for p, change in zip(places, changes, strict=True)
        ]
        return torch.stack([error.square().mean() for error in errors]).sum()

    oracle.train_loose(math, params, places, loss, steps=300, lr=2e-2)
    added = [rank - 1 for rank in ranks(places)]
    assert sum(added) == 12
    assert sum(added[2:]) / sum(added) >= 0.7
