"""What comes after the last block is trained, and no gradient goes below it."""

from pathlib import Path

import pytest
import torch

from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

WHERE = oracle.load("last-layer").traits.where


def changed(folder: Path) -> set[str]:
    attached = oracle.tune(folder, "last-layer", where=WHERE)
    before = {name: tensor.clone() for name, tensor in attached.model.named_parameters()}
    oracle.our_losses(attached, steps=2)
    return {name for name, tensor in attached.model.named_parameters() if not torch.equal(tensor, before[name])}


def test_that_an_output_layer_of_its_own_changes_with_the_norm_alone(tmp_path: Path) -> None:
    assert changed(tiny.make_llama(tmp_path / "untied", tied=False)) == {"model.norm.weight", "lm_head.weight"}


def test_that_a_tied_output_layer_is_the_embedding_and_counts_once(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "tied")
    assert changed(folder) == {"model.norm.weight", "model.embed_tokens.weight"}
    assert oracle.tune(folder, "last-layer", where=WHERE).trainable == 64 * 32 + 32


def test_that_no_gradient_passes_through_the_blocks(tmp_path: Path) -> None:
    attached = oracle.tune(tiny.make_llama(tmp_path / "model", tied=False), "last-layer", where=WHERE)
    seen = []
    attached.model.get_submodule("model.layers.1").register_forward_hook(lambda *call: seen.append(call[2]))
    oracle.our_losses(attached, steps=1)
    assert [output.requires_grad for output in seen] == [False]


@pytest.mark.parametrize("tied", [False, True])
def test_that_the_last_layer_of_a_7b_llama_counts_as_its_architecture_says(tied: bool) -> None:
    sites = adapting.published("LlamaForCausalLM", tie_word_embeddings=tied)
    assert adapting.count("last-layer", {}, sites) == 32_000 * 4096 + 4096
