"""DSEE: LoRA without its sparse part, the entries it picks, and how it prunes."""

from pathlib import Path

import pytest
import torch

from studio.engine.merge import merge_into_base
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

PARAMS = {"rank": 4, "alpha": 8}
EVERY = "role in (q, k, v, o, gate, up, down)"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_rank_and_entries_of_sixteen_on_bert_base_count_as_published() -> None:
    roles = [("q", 768, 768), ("k", 768, 768), ("v", 768, 768), ("fc1", 768, 3072), ("fc2", 3072, 768)]
    sites = [oracle.linear(f"{i}.{role}", role, d_in, d_out) for i in range(12) for role, d_in, d_out in roles]
    assert oracle.count("dsee", {"rank": 16, "entries": 16}, sites) == 590_208


def test_that_it_is_lora_without_entries_and_pruning(model: Path) -> None:
    from peft import LoraConfig

    attached = oracle.tune(model, "dsee", {**PARAMS, "entries": 0, "prune": 0}, where="role in (q, v)")
    theirs = oracle.wrap(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, {"A": "lora_A.default.weight", "B": "lora_B.default.weight"})
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


def test_that_the_decomposition_finds_planted_spikes() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 4, generator=generator) @ torch.randn(4, 64, generator=generator) / 4
    planted = torch.randperm(64 * 64, generator=generator)[:16]
    weight.view(-1)[planted] += 5
    math = oracle.load("dsee").math()
    assert math is not None
    found = math.left_over(weight, generator).abs().flatten().topk(16).indices
    assert set(found.tolist()) == set(planted.tolist())


@pytest.mark.parametrize("pick", ["decomposition", "magnitude", "random"])
def test_that_every_pick_gives_as_many_different_entries_as_asked_for(model: Path, pick: str) -> None:
    for place in oracle.tune(model, "dsee", {**PARAMS, "pick": pick}).places(0):
        if "index" in place.tensors:
            assert len(set(place.tensors["index"].tolist())) == 16


@pytest.mark.parametrize("importance", ["delta", "weight", "sum", "random"])
def test_that_each_pool_is_pruned_by_its_share_within_one_entry(model: Path, importance: str) -> None:
    attached = oracle.tune(model, "dsee", {**PARAMS, "prune": 0.3, "importance": importance}, where=EVERY)
    places = attached.places(0)
    before = oracle.watched(attached, 3, lambda: [bool(place.tensors["kept"].all()) for place in places])
    assert all(before[0])
    for roles in (("q", "v"), ("k", "o", "gate", "up", "down")):
        kept = torch.cat([place.tensors["kept"].flatten() for place in places if place.site.role in roles])
        assert abs(int((~kept).sum()) - 0.3 * kept.numel()) <= 1


def test_that_matrices_without_an_update_stay_exactly_sparse_when_merged(model: Path) -> None:
    attached = oracle.tune(model, "dsee", {**PARAMS, "prune": 0.3}, where=EVERY)
    oracle.our_losses(attached)
    tuned = oracle.logits(attached.model)
    masks = {attached.paths[p.site.path]: p.tensors["kept"] for p in attached.places(0) if p.site.role == "down"}
    merged = merge_into_base(attached)
    assert (oracle.logits(merged) - tuned).abs().max().item() < 1e-5
    for path, kept in masks.items():
        assert not merged.get_submodule(path).get_parameter("weight")[~kept].any()


def test_that_pruning_what_matters_least_does_less_harm_than_chance_and_is_mended(model: Path) -> None:
    oracle.pretrain(model, steps=150)
    losses = {}
    for importance in ("delta", "random"):
        params = {**PARAMS, "prune": 0.3, "importance": importance}
        losses[importance] = oracle.our_losses(oracle.tune(model, "dsee", params, where=EVERY), steps=80)
    harm = {name: sum(curve[40:44]) - sum(curve[36:40]) for name, curve in losses.items()}
    assert 0 < harm["delta"] < harm["random"]
    assert sum(losses["delta"][40:44]) - sum(losses["delta"][-4:]) > harm["delta"] / 2
