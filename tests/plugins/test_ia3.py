"""(IA)3 against peft, its published size on T0-3B, and how it folds into the weights."""

from pathlib import Path

import pytest
import torch

from studio.engine.merge import merge_into_base
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

WHERE = "role in (k, v, down)"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_the_vectors_of_t5_v1_1_xl_count_as_published() -> None:
    """About 0.01 % of T0-3B: keys and values of 72 attentions and the feed-forwards of 48 blocks."""
    attentions = [oracle.linear(f"a.{i}.{role}", role, 2048, 2048) for i in range(72) for role in ("k", "v")]
    feed_forwards = [oracle.linear(f"f.{i}", "fc2", 5120, 2048) for i in range(48)]
    assert oracle.count("ia3", {}, [*attentions, *feed_forwards]) == 540_672


def test_that_peft_gives_the_same_outputs_and_losses(model: Path) -> None:
    from peft import IA3Config

    attached = oracle.tune(model, "ia3", where=WHERE)
    targets = ["k_proj", "v_proj", "down_proj"]
    theirs = oracle.wrap(model, IA3Config(target_modules=targets, feedforward_modules=["down_proj"]))
    assert attached.trainable == sum(p.numel() for p in theirs.parameters() if p.requires_grad) == 2 * (16 + 16 + 64)
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, {"scale": "ia3_l.default"})
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


def test_that_the_vectors_fold_into_rows_and_columns_of_the_maps(model: Path) -> None:
    attached = oracle.tune(model, "ia3", where=WHERE)
    oracle.fill(attached)
    tuned = oracle.logits(attached.model)
    assert (oracle.logits(merge_into_base(attached)) - tuned).abs().max().item() < 1e-5


def test_that_the_biases_are_scaled_with_the_output_and_not_with_the_input(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=4, n_positions=32, bos_token_id=1, eos_token_id=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    attached = oracle.tune(tmp_path / "gpt2", "ia3", where="role in (qkv, fc2)")
    with torch.no_grad():
        for name, tensor in attached.model.named_parameters():
            if name.endswith("bias"):
                tensor.fill_(0.3)
    oracle.fill(attached)
    tuned = oracle.logits(attached.model)
    assert (oracle.logits(merge_into_base(attached)) - tuned).abs().max().item() < 1e-5
