"""LoRA-XS: its published count, its frozen factors, and peft's LoRA as an equal model."""

from pathlib import Path

import pytest
import torch

from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_rank_25_on_four_matrices_of_roberta_large_counts_as_published() -> None:
    sizes = {"q": (1024, 1024), "v": (1024, 1024), "o": (1024, 1024), "fc2": (4096, 1024)}
    sites = [oracle.linear(f"{i}.{role}", role, *size) for i in range(24) for role, size in sizes.items()]
    assert oracle.count("lora-xs", {"rank": 25}, sites) == 60_000


def test_that_the_frozen_factors_are_the_best_approximation_of_the_weight(model: Path) -> None:
    for place in oracle.tune(model, "lora-xs", {"rank": 4}).places(0):
        left = place.weight() - place.tensors["US"] @ place.tensors["V"]
        assert left.norm() == pytest.approx(torch.linalg.svdvals(place.weight())[4:].norm().item(), rel=1e-4)


def test_that_only_the_square_matrices_learn(model: Path) -> None:
    attached = oracle.tune(model, "lora-xs", {"rank": 4})
    frozen = {name: tensor.clone() for name, tensor in attached.buffers.items()}
    losses = oracle.our_losses(attached)
    assert losses[-1] < losses[0]
    assert {tuple(tensor.shape) for tensor in attached.tensors.values()} == {(4, 4)}
    assert all(torch.equal(attached.buffers[name], tensor) for name, tensor in frozen.items())


def test_that_peft_lora_with_its_factors_answers_the_same(model: Path) -> None:
    from peft import LoraConfig

    attached = oracle.tune(model, "lora-xs", {"rank": 4, "alpha": 8})
    oracle.fill(attached)
    theirs = oracle.wrap(model, LoraConfig(r=4, lora_alpha=8, target_modules=oracle.TARGETS))
    with torch.no_grad():
        for place in attached.places(0):
            math, params = attached.placed[0].method.math(), attached.placed[0].params
            a, b, scale = math.lora_factors(params, place.site, place.tensors)  # type: ignore[union-attr]
            layer = theirs.get_submodule(f"base_model.model.{attached.paths[place.site.path]}")
            layer.get_parameter("lora_A.default.weight").copy_(a)
            layer.get_parameter("lora_B.default.weight").copy_(b)
            assert scale == 2.0
    assert oracle.difference(attached, theirs) < 1e-5
