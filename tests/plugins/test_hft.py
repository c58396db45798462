"""Half fine-tuning: exactly half of the blocks, by category, another half each round."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from studio.api import Site
from studio.models.where import select
from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

HFT = oracle.load("hft")
WHERE = HFT.traits.where
BLOCKS = "layer >= 0 and kind in (linear, norm)"


def drawn(sites: tuple[Site, ...], **params: int) -> list[Site]:
    declared = HFT.module.declare_over(HFT.module.Params(**params), sites)  # type: ignore[attr-defined]
    return [site for site in sites if site.path in declared]


@pytest.fixture(scope="module")
def llama() -> tuple[Site, ...]:
    size = {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 11_008}
    return select(adapting.published("LlamaForCausalLM", **size), BLOCKS)


def test_that_half_of_the_blocks_of_llama_2_7b_is_trained_in_every_category(llama: tuple[Site, ...]) -> None:
    assert 2 * oracle.count("hft", {}, llama) == oracle.count("full", {}, llama) == 32 * 202_383_360
    chosen = drawn(llama)
    for layer in range(32):
        roles = Counter(_category(site) for site in chosen if site.layer == layer)
        assert (roles["attention"], roles["norm"]) == (2, 1)
        assert roles["feed-forward"] in (1, 2)
    assert Counter(_category(site) for site in chosen)["feed-forward"] == 48


@pytest.mark.parametrize(
    ("architecture", "extra"),
    [("LlamaForCausalLM", {}), ("MixtralForCausalLM", {"num_local_experts": 4}), ("GPT2LMHeadModel", {"n_layer": 4})],
)
def test_that_half_is_trained_with_grouped_keys_experts_and_joint_maps(
    architecture: str, extra: dict[str, int]
) -> None:
    size = {"num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    sites = adapting.published(architecture, **(size | extra if "n_layer" not in extra else extra))
    blocks = select(sites, "layer >= 0 and (kind in (linear, norm) or role in (expert_gate_up, expert_down))")
    assert 2 * sum(_size(site) for site in drawn(blocks)) == sum(_size(site) for site in blocks)


def test_that_another_round_or_seed_draws_another_half(llama: tuple[Site, ...]) -> None:
    assert drawn(llama) == drawn(llama, round=1, seed=0)
    assert drawn(llama) != drawn(llama, round=2)
    assert drawn(llama) != drawn(llama, seed=1)


def test_that_the_frozen_half_stays_and_the_embeddings_are_trained(tmp_path: Path) -> None:
    attached = oracle.tune(tiny.make_llama(tmp_path / "model", tied=False), "hft", where=WHERE)
    before = {name: tensor.clone() for name, tensor in attached.model.named_parameters()}
    oracle.our_losses(attached, steps=2)
    own = {id(tensor) for tensor in attached.tensors.values()}
    for name, tensor in attached.model.named_parameters():
        assert torch.equal(tensor, before[name]) == (id(tensor) not in own)
    assert {"base.embed_tokens.weight", "base.lm_head.weight", "base.norm.weight"} <= attached.tensors.keys()


def test_that_half_moves_the_weights_less_than_all_of_them_in_equal_steps(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "model", layers=4)
    moved = {}
    for use, where in (("hft", WHERE), ("full", oracle.load("full").traits.where)):
        attached = oracle.tune(folder, use, where=where)
        untuned = oracle.logits(attached.model)
        losses = oracle.our_losses(attached, lr=1e-3)
        assert losses[-1] < losses[0]
        moved[use] = (oracle.logits(attached.model) - untuned).square().mean().item()
    assert moved["hft"] < moved["full"]


def _category(site: Site) -> str:
    return "norm" if site.kind == "norm" else "attention" if site.role in "qkvo" else "feed-forward"


def _size(site: Site) -> int:
    return torch.Size(site.shape).numel()
