"""Compacter++: published sizes, the Kronecker sum, one set of first factors for the whole model."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu

from studio.core.errors import PluginError
from studio.extensions.loader import load_method
from studio.extensions.registry import discover
from tests.helpers import adapting, tiny

METHOD = "compacter-plus"
T5_BASE = {"d_model": 768, "d_ff": 3072, "d_kv": 64, "num_heads": 12, "num_layers": 12}
SMALL = {"bottleneck": 8, "divisions": 4, "rank": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "m", layers=1)


def matrix(a: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """The sum of Kronecker products, written out."""
    return torch.stack([torch.kron(a[i], s[i] @ t[i].T) for i in range(len(a))]).sum(0)


def test_that_a_t5_base_counts_as_published() -> None:
    sites = adapting.published("T5ForConditionalGeneration", **T5_BASE)
    assert adapting.count(METHOD, {}, sites) == 104_704
    assert adapting.count(METHOD, {"norms": False}, sites) == 104_704 - 47_616
    assert adapting.count(METHOD, {"factors": "own"}, sites) == 104_704 + 64 * (2 * 24 - 1)


@pytest.mark.parametrize("factors", ["shared", "own"])
def test_that_each_layer_is_the_written_out_sum_of_kronecker_products(folder: Path, factors: str) -> None:
    attached = adapting.tune(adapting.load(folder), folder, (METHOD, {**SMALL, "factors": factors}))
    tensors = adapting.stir(attached, std=0.5)
    path = "0.layers.0.mlp.down_proj"
    x = torch.randn(2, 7, 64, generator=torch.Generator().manual_seed(0))
    module = attached.model.get_submodule("model.layers.0.mlp.down_proj")
    tuned = module(x)
    attached.flow.enabled = False
    y = module(x)
    down, up = (
        matrix(
            tensors["0.phm.A" if factors == "shared" else f"{path}.{n}.A"],
            tensors[f"{path}.{n}.s"],
            tensors[f"{path}.{n}.t"],
        )
        for n in ("down", "up")
    )
    hidden = gelu(y @ down + tensors[f"{path}.down.bias"], approximate="tanh")
    assert torch.allclose(tuned, y + hidden @ up + tensors[f"{path}.up.bias"], atol=1e-5)
    assert (tuned - y).abs().max() > 1e-2


def test_that_the_first_factors_are_one_tensor_whose_gradient_sums_over_all_layers(folder: Path) -> None:
    shared = adapting.tune(adapting.load(folder), folder, (METHOD, {**SMALL, "norms": False}))
    own = adapting.tune(adapting.load(folder), folder, (METHOD, {**SMALL, "norms": False, "factors": "own"}))
    tensors = adapting.stir(shared)
    for name, tensor in own.tensors.items():
        tensor.data.copy_(tensors["0.phm.A" if name.endswith(".A") else name])
    for attached in (shared, own):
        adapting.answer(attached.model).square().sum().backward()
    parts = [tensor.grad for name, tensor in own.tensors.items() if name.endswith(".A")]
    assert [name for name in shared.tensors if name.endswith(".A")] == ["0.phm.A"]
    assert len(parts) == 2
    total = torch.stack([part for part in parts if part is not None]).sum(0)
    assert torch.allclose(shared.tensors["0.phm.A"].grad, total, rtol=1e-4, atol=1e-4)  # type: ignore[arg-type]


def test_that_the_start_is_the_base_model_up_to_a_thousandth(folder: Path) -> None:
    attached = adapting.tune(adapting.load(folder), folder, (METHOD, SMALL))
    difference = adapting.answer(attached.model) - adapting.answer(adapting.load(folder))
    assert difference.abs().max() < 1e-3


def test_that_one_division_is_an_adapter_with_factorised_projections(folder: Path) -> None:
    params = {"bottleneck": 4, "divisions": 1, "rank": 4}
    attached = adapting.tune(adapting.load(folder), folder, (METHOD, params))
    tensors = adapting.stir(attached, std=0.5)
    path = "0.layers.0.mlp.down_proj"
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    module = attached.model.get_submodule("model.layers.0.mlp.down_proj")
    tuned = module(x)
    attached.flow.enabled = False
    y = module(x)
    down, up = (
        tensors["0.phm.A"][0] * tensors[f"{path}.{n}.s"][0] @ tensors[f"{path}.{n}.t"][0].T for n in ("down", "up")
    )
    hidden = gelu(y @ down + tensors[f"{path}.down.bias"], approximate="tanh")
    assert torch.allclose(tuned, y + hidden @ up + tensors[f"{path}.up.bias"], atol=1e-5)


def test_that_divisions_that_do_not_divide_are_refused_with_a_proposal() -> None:
    method = load_method(discover().get(METHOD, "method"))
    _, problems = method.parse({"bottleneck": 22, "divisions": 4}, "params")
    assert "such as 24" in problems[0].message
    with pytest.raises(PluginError, match="do not divide the width 768"):
        adapting.count(METHOD, {"bottleneck": 35, "divisions": 5}, adapting.published("BertModel"))
