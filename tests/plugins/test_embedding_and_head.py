"""The tensors of the vocabulary are trained, tied or not, and every block stays as it was."""

from pathlib import Path

import pytest
import torch

from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

WHERE = oracle.load("embedding-and-head").traits.where


@pytest.mark.parametrize(
    ("tied", "expected"),
    [(True, {"model.embed_tokens.weight"}), (False, {"model.embed_tokens.weight", "lm_head.weight"})],
)
def test_that_exactly_the_vocabulary_changes(tmp_path: Path, tied: bool, expected: set[str]) -> None:
    attached = oracle.tune(tiny.make_llama(tmp_path / "model", tied=tied), "embedding-and-head", where=WHERE)
    before = {name: tensor.clone() for name, tensor in attached.model.named_parameters()}
    oracle.our_losses(attached, steps=2)
    changed = {name for name, tensor in attached.model.named_parameters() if not torch.equal(tensor, before[name])}
    assert changed == expected
    assert attached.trainable == len(expected) * 64 * 32


def test_that_gpt2_counts_its_tied_table_once_and_no_positions() -> None:
    assert adapting.count("embedding-and-head", {}, adapting.published("GPT2LMHeadModel")) == 50_257 * 768


def test_that_an_output_layers_own_bias_is_trained_too() -> None:
    sites = adapting.published(
        "PhiForCausalLM", vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=4,
    )  # fmt: skip
    assert adapting.count("embedding-and-head", {}, sites) == 2 * 96 * 32 + 96


def test_that_what_is_saved_is_what_was_trained(tmp_path: Path) -> None:
    attached = oracle.tune(tiny.make_llama(tmp_path / "model", tied=False), "embedding-and-head", where=WHERE)
    oracle.our_losses(attached, steps=2)
    tuned = oracle.logits(attached.model)
    fresh = oracle.tune(tmp_path / "model", "embedding-and-head", where=WHERE)
    saved = attached.saved(state=False)
    assert sum(tensor.numel() for tensor in saved.values()) == attached.trainable
    with torch.no_grad():
        for name, tensor in fresh.saved(state=False).items():
            tensor.copy_(saved[name])
    assert torch.equal(oracle.logits(fresh.model), tuned)
