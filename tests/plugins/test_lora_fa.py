"""LoRA-FA against peft with its first factor frozen, and what it keeps for the backward pass."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from studio.api import Context
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_it_counts_the_second_factor_alone() -> None:
    sites = [oracle.linear("a", "q", 768, 768), oracle.linear("b", "down", 3072, 768)]
    assert oracle.count("lora-fa", {"rank": 8}, sites) == 8 * 2 * 768


def test_that_peft_with_a_frozen_first_factor_gives_the_same_outputs_and_losses(model: Path) -> None:
    from peft import LoraConfig

    attached = oracle.tune(model, "lora-fa", {"rank": 4, "alpha": 8})
    theirs = oracle.wrap(model, LoraConfig(r=4, lora_alpha=8, target_modules=oracle.TARGETS))
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, {"A": "lora_A.default.weight", "B": "lora_B.default.weight"})
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad_("lora_B" in name)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


@pytest.mark.parametrize(("use", "keeps"), [("lora", True), ("lora-fa", False)])
def test_that_the_input_is_not_kept_for_the_backward_pass(use: str, keeps: bool) -> None:
    method = oracle.load(use)
    params = method.module.Params()
    (place,) = oracle.loose_places(method, params, [oracle.linear("a", "q", 32, 32)])
    x, kept = torch.randn(4, 32), []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.untyped_storage().data_ptr())
        return tensor

    context = Context(True, lambda: x, lambda: None)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        method.math().forward(params, place.site, place.tensors, x, x @ torch.eye(32), context)  # type: ignore[union-attr]
    assert (x.untyped_storage().data_ptr() in kept) == keeps
