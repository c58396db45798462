"""MixDA: domain adapters beside a feed-forward's last map, and the gate that mixes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu, linear, relu

from studio.core.errors import PluginError
from studio.engine.attach import Attached
from studio.engine.batches import Row, collate
from studio.engine.flow import tokens_of
from studio.extensions.loader import load_method
from studio.extensions.registry import discover
from tests.helpers import adapting, tiny

PATH = "encoder.layer.0.output.dense"
SOFTMAX = "softmax per sequence"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make_bert(tmp_path / "m", layers=1)


def tune(folder: Path, **params: Any) -> Attached:
    return adapting.tune(adapting.load(folder), folder, ("mixda", {"bottleneck": 5, "gate_width": 6, **params}))


def own(attached: Attached) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"0.{PATH}."): tensor.detach() for name, tensor in attached.tensors.items()}


def test_that_an_adapter_in_a_roberta_large_counts_as_published() -> None:
    config = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    sites = adapting.published("RobertaModel", **config)
    gate = (4096 + 2 + 1) * 256 + 2
    where = "role == fc2 and layer in (7, 11)"
    assert adapting.count("mixda", {}, sites, where=where) == 2 * (1_312_000 + gate)
    assert adapting.count("mixda", {"domains": 3}, sites, where=where) == 2 * (3 * 1_312_000 + gate + 2 * 256 + 2)


@pytest.mark.parametrize(("layers", "chosen"), [(24, {11, 12}), (12, {5, 6}), (30, {14, 15}), (2, {0, 1})])
def test_that_two_layers_in_the_middle_are_chosen(layers: int, chosen: set[int]) -> None:
    from studio.models.where import select

    sites = adapting.published("BertModel", num_hidden_layers=layers, hidden_size=32, num_attention_heads=4)
    where = load_method(discover().get("mixda", "method")).traits.where
    assert {site.layer for site in select(sites, where)} == chosen


def test_that_the_gate_wide_open_for_the_base_gives_the_base_model(folder: Path) -> None:
    attached = tune(folder)
    tensors = own(attached)
    adapting.stir(attached)
    tensors["gate.up.weight"].zero_()
    tensors["gate.domains.bias"].fill_(-100.0)
    tensors["gate.base.bias"].fill_(100.0)
    assert torch.allclose(adapting.answer(attached.model), adapting.answer(adapting.load(folder)), atol=1e-6)


def test_that_a_uniform_softmax_leaves_the_base_its_equal_share(folder: Path) -> None:
    attached = tune(folder, domains=3, gate=SOFTMAX)
    tensors = own(attached)
    tensors["gate.up.weight"].zero_()
    tensors["gate.base.bias"].zero_()
    x = torch.randn(2, 7, 64, generator=torch.Generator().manual_seed(0))
    module = attached.model.get_submodule(PATH)
    tuned = module(x)
    attached.flow.enabled = False
    assert torch.allclose(tuned, module(x) / 4, atol=1e-6)


def test_that_the_start_is_near_the_base_model(folder: Path) -> None:
    attached = tune(folder, start=8.0)
    difference = adapting.answer(attached.model) - adapting.answer(adapting.load(folder))
    assert 0 < difference.abs().max() < 1e-2


def test_that_each_token_mixes_the_domains_and_the_base_by_its_own_gate(folder: Path) -> None:
    attached = tune(folder, domains=2)
    adapting.stir(attached)
    tensors = own(attached)
    x = torch.randn(2, 7, 64, generator=torch.Generator().manual_seed(0))
    module = attached.model.get_submodule(PATH)
    tuned = module(x)
    attached.flow.enabled = False
    hidden = relu(linear(x, tensors["gate.down.weight"], tensors["gate.down.bias"]))
    bias = torch.cat([tensors["gate.domains.bias"], tensors["gate.base.bias"]])
    weights = linear(hidden, tensors["gate.up.weight"], bias).sigmoid()
    mixed = weights[..., 2:] * module(x)
    for k in range(2):
        inner = gelu(linear(x, tensors[f"{k}.down.weight"], tensors[f"{k}.down.bias"]))
        mixed = mixed + weights[..., k : k + 1] * linear(inner, tensors[f"{k}.up.weight"], tensors[f"{k}.up.bias"])
    assert torch.allclose(tuned, mixed, atol=1e-5)


def test_that_a_sequence_takes_the_gate_of_its_first_token_also_in_a_packed_row() -> None:
    first = load_method(discover().get("mixda", "method")).math()._first  # type: ignore[union-attr]
    rows = [Row(np.arange(1, n + 1), np.ones(n, dtype=np.bool_)) for n in (3, 4)]
    tokens = tokens_of(collate(rows, pad_id=0, device="cpu", packed=True, classes=False))
    x = torch.arange(7.0)[None, :, None].expand(1, 7, 2)
    assert first(x, tokens)[0, :, 0].tolist() == [0, 0, 0, 3, 3, 3, 3]


def test_that_a_gate_per_sequence_is_refused_on_a_decoder(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m")
    attached = tune(folder, gate=SOFTMAX)
    with pytest.raises(PluginError, match="needs an encoder"):
        adapting.answer(attached.model)


def test_that_a_task_adapter_can_be_trained_besides(folder: Path) -> None:
    uses = (("mixda", {"bottleneck": 5, "gate_width": 6}), ("pfeiffer-adapter", {"bottleneck": 4}))
    attached = adapting.tune(adapting.load(folder), folder, *uses)
    adapting.stir(attached)
    adapting.answer(attached.model).square().sum().backward()
    assert {name.split(".")[0] for name, tensor in attached.tensors.items() if tensor.grad is not None} == {"0", "1"}
