"""Scaled parallel adapters: the parallel adapter times a factor."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import adapting, tiny


def correction(folder: Path, use: str, params: dict[str, Any]) -> torch.Tensor:
    """What the method adds to the output of the only feed-forward."""
    attached = adapting.tune(adapting.load(folder), folder, (use, {"bottleneck": 5, **params}))
    adapting.stir(attached)
    if (scale := attached.tensors.get("0.layers.0.mlp.scale")) is not None:
        scale.data.fill_(1.5)
    x = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0))
    module = attached.model.get_submodule("model.layers.0.mlp")
    tuned: torch.Tensor = module(x)
    attached.flow.enabled = False
    plain: torch.Tensor = module(x)
    return tuned - plain


@pytest.mark.parametrize("scale", [1.0, 2.0, 4.0])
def test_that_a_fixed_factor_multiplies_the_parallel_adapter(tmp_path: Path, scale: float) -> None:
    folder = tiny.make_llama(tmp_path / "m", layers=1)
    plain = correction(folder, "parallel-adapter", {})
    scaled = correction(folder, "scaled-parallel-adapter", {"scale": scale})
    assert torch.allclose(scaled, scale * plain, atol=1e-5)
    assert plain.abs().max() > 1e-2


def test_that_a_learned_factor_takes_the_place_of_the_fixed_one(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m", layers=1)
    plain = correction(folder, "parallel-adapter", {})
    learned = correction(folder, "scaled-parallel-adapter", {"factor": "learned", "scale": 9.0})
    assert torch.allclose(learned, 1.5 * plain, atol=1e-5)


@pytest.mark.parametrize("architecture", ["BertModel", "LlamaForCausalLM"])
def test_that_a_learned_factor_is_one_parameter_more_per_feed_forward(architecture: str) -> None:
    sites = adapting.published(architecture, hidden_size=768, num_hidden_layers=12, num_attention_heads=12)
    fixed = adapting.count("scaled-parallel-adapter", {"bottleneck": 16}, sites)
    assert fixed == 12 * (2 * 768 * 16 + 16 + 768)
    assert adapting.count("scaled-parallel-adapter", {"bottleneck": 16, "factor": "learned"}, sites) == fixed + 12


def test_that_a_learned_factor_receives_a_gradient_once_the_adapter_answers(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "m")
    params = {"bottleneck": 5, "factor": "learned"}
    attached = adapting.tune(adapting.load(folder), folder, ("scaled-parallel-adapter", params))
    adapting.stir(attached)
    adapting.answer(attached.model).square().sum().backward()
    scales = [tensor for name, tensor in attached.tensors.items() if name.endswith("scale")]
    assert len(scales) == 2
    assert all(tensor.grad is not None and tensor.grad.abs() > 0 for tensor in scales)
