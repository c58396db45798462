"""DiReFT and NoReFT: their equations, count, and the tokens that they leave alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.api import Context
from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

METHOD = oracle.load("direft")
WHERE = METHOD.traits.where


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_rank_eight_on_every_block_of_llama_7b_counts_as_published() -> None:
    sites = adapting.published("LlamaForCausalLM", num_hidden_layers=32, hidden_size=4096, intermediate_size=11_008)
    assert adapting.count("direft", {"rank": 8}, sites) == 2_097_408


@pytest.mark.parametrize("variant", ["direft", "noreft"])
def test_that_the_edit_is_that_of_its_equation(model: Path, variant: str) -> None:
    attached = oracle.tune(model, "direft", {"variant": variant}, where=WHERE)
    oracle.fill(attached)
    place = attached.places(0)[0]
    w1, b, w2 = (place.tensors[name].detach() for name in ("W1", "b", "W2"))
    h = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    inner = h @ w1.T + b - (h @ w2.T if variant == "noreft" else 0)
    math: Any = METHOD.math()
    ctx = Context(training=False, weight=lambda: h, bias=lambda: None)
    changed = math.forward(
        METHOD.module.Params.model_validate({"variant": variant}), place.site, place.tensors, h, h, ctx
    )
    assert torch.allclose(changed, h + inner @ w2, atol=1e-5)


@pytest.mark.parametrize("variant", ["direft", "noreft"])
def test_that_the_loss_of_a_batch_falls_each_time_it_comes(model: Path, variant: str) -> None:
    attached = oracle.tune(model, "direft", {"variant": variant}, where=WHERE)
    losses = oracle.our_losses(attached)
    assert losses[3] > losses[7] > losses[19]


def test_that_no_other_token_sees_an_edit_of_the_last_block(model: Path) -> None:
    attached = oracle.tune(model, "direft", {"first": 2, "last": 1}, where="kind == block and layer == 1")
    untuned = oracle.logits(attached.model)
    oracle.fill(attached)
    moved = (oracle.logits(attached.model) - untuned).abs().amax(dim=(0, 2)) > 1e-4
    assert moved.tolist() == [True, True, *[False] * 9, True]
