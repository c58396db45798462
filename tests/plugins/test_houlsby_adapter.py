"""Houlsby adapters: where they sit, what they compute, and the sizes that were published."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import adapting, tiny

T5_SMALL = {
    "d_model": 512,
    "d_ff": 1024,
    "d_kv": 64,
    "num_heads": 6,
    "num_layers": 8,
    "feed_forward_proj": "gated-gelu",
}
T5_BASE = {"d_model": 768, "d_ff": 3072, "d_kv": 64, "num_heads": 12, "num_layers": 12}
BLOOM_560M = {"hidden_size": 1024, "n_layer": 24, "n_head": 16}
BLOOM_7B = {"hidden_size": 4096, "n_layer": 30, "n_head": 32}


class Reference(nn.Module):
    """A map with an adapter after it, written as a module."""

    def __init__(self, base: nn.Module, tensors: dict[str, Tensor], path: str) -> None:
        super().__init__()
        self.base = base
        self.tensors = {
            name: tensors[f"0.{path}.{name}"] for name in ("down.weight", "down.bias", "up.weight", "up.bias")
        }

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        hidden = nn.functional.gelu(y @ self.tensors["down.weight"].T + self.tensors["down.bias"])
        return y + hidden @ self.tensors["up.weight"].T + self.tensors["up.bias"]


@pytest.mark.parametrize(
    ("architecture", "config", "size", "expected"),
    [
        ("T5ForConditionalGeneration", T5_SMALL, 24, 803_584),
        ("T5ForConditionalGeneration", T5_BASE, 24, 1_807_488),
        ("BloomForCausalLM", BLOOM_560M, 24, 2_409_600),
        ("BloomForCausalLM", BLOOM_7B, 24, 12_043_680),
        ("BertModel", {}, 64, 2_379_264),
        ("BertModel", {}, 48, 1_789_056),
    ],
)
def test_that_published_models_count_as_published(
    architecture: str, config: dict[str, Any], size: int, expected: int
) -> None:
    sites = adapting.published(architecture, **config)
    assert adapting.count("houlsby-adapter", {"bottleneck": size}, sites) == expected


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_that_the_adapter_follows_the_last_map_of_attention_and_feed_forward(tmp_path: Path, family: str) -> None:
    folder = tiny.make_llama(tmp_path / "m") if family == "llama" else tiny.make_bert(tmp_path / "m")
    attached = adapting.tune(adapting.load(folder), folder, ("houlsby-adapter", {"bottleneck": 5}))
    tensors = adapting.stir(attached)
    tuned = adapting.answer(attached.model)
    names = ("o_proj", "down_proj") if family == "llama" else ("output.dense",)
    theirs = adapting.load(folder)
    places = [path for path, _ in theirs.named_modules() if path.endswith(names)]
    assert len(places) == 4
    for path in places:
        parent, _, name = path.rpartition(".")
        owner = theirs.get_submodule(parent)
        setattr(owner, name, Reference(theirs.get_submodule(path), tensors, path.removeprefix("model.")))
    assert (adapting.answer(theirs) - tuned).abs().max() < 1e-5


def test_that_each_nonlinearity_gives_another_answer(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m")
    answers = []
    for activation in ("relu", "gelu", "silu", "tanh"):
        params = {"bottleneck": 5, "activation": activation}
        attached = adapting.tune(adapting.load(folder), folder, ("houlsby-adapter", params))
        adapting.stir(attached)
        answers.append(adapting.answer(attached.model))
    assert all(not torch.allclose(a, b, atol=1e-4) for i, a in enumerate(answers) for b in answers[:i])
