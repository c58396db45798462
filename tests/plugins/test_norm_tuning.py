"""Norm tuning trains the norms' own tensors, as peft's layer-norm tuning does."""

from pathlib import Path

from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

WHERE = "kind == norm"


def test_that_the_norms_of_llama_2_7b_and_gpt2_count_as_their_architectures_say() -> None:
    llama = adapting.published("LlamaForCausalLM", num_hidden_layers=32, hidden_size=4096, intermediate_size=11_008)
    assert adapting.count("norm-tuning", {}, llama) == (2 * 32 + 1) * 4096 == 266_240
    assert adapting.count("norm-tuning", {}, adapting.published("GPT2LMHeadModel")) == (2 * 12 + 1) * 2 * 768


def test_that_peft_trains_the_same_tensors_with_the_same_losses(tmp_path: Path) -> None:
    from peft import LNTuningConfig

    folder = tiny.make_llama(tmp_path / "model")
    attached = oracle.tune(folder, "norm-tuning", where=WHERE)
    config = LNTuningConfig(target_modules=["input_layernorm", "post_attention_layernorm", "norm"])
    theirs = oracle.wrap(folder, config)
    assert attached.trainable == 5 * 32 == sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached, lr=0.1), oracle.peft_losses(theirs, lr=0.1))
    assert oracle.difference(attached, theirs) < 1e-4


def test_that_a_placement_can_choose_the_norms_before_the_attention(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "model")
    attached = oracle.tune(folder, "norm-tuning", where="role == norm1")
    assert sorted(attached.tensors) == [f"base.layers.{i}.input_layernorm.weight" for i in (0, 1)]
