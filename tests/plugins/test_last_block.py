"""The last blocks are trained, all of them and nothing else; they count as published architectures say."""

from pathlib import Path

import pytest
import torch

from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

WHERE = oracle.load("last-block").traits.where
BLOCK = 12 * 768**2 + 13 * 768  # the weights and biases of one of GPT-2's blocks


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model", layers=3)


def test_that_the_last_block_of_gpt2_counts_as_its_architecture_says() -> None:
    sites = adapting.published("GPT2LMHeadModel")
    assert adapting.count("last-block", {}, sites) == BLOCK == 7_087_872
    assert adapting.count("last-block", {"blocks": 12}, sites) == 12 * BLOCK


def test_that_the_router_and_the_experts_of_a_mixture_belong_to_its_block() -> None:
    sites = adapting.published(
        "MixtralForCausalLM", vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=3,
    )  # fmt: skip
    attention, experts, router, norms = 2 * 32 * 32 + 2 * 32 * 16, 3 * 3 * 32 * 48, 3 * 32, 2 * 32
    assert adapting.count("last-block", {}, sites) == attention + experts + router + norms


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_that_exactly_the_last_blocks_change(model: Path, blocks: int) -> None:
    attached = oracle.tune(model, "last-block", {"blocks": blocks}, where=WHERE)
    before = {name: tensor.clone() for name, tensor in attached.model.named_parameters()}
    oracle.our_losses(attached, steps=2)
    changed = {name for name, tensor in attached.model.named_parameters() if not torch.equal(tensor, before[name])}
    layers = range(max(0, 3 - blocks), 3)
    assert changed == {name for name in before if any(name.startswith(f"model.layers.{i}.") for i in layers)}


def test_that_blocks_are_counted_from_the_end_of_the_placement(model: Path) -> None:
    attached = oracle.tune(model, "last-block", where=f"({WHERE}) and layer < 2")
    assert {place.site.layer for place in attached.places(0)} == {1}
