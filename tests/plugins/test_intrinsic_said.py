"""Intrinsic dimension: exactly d numbers, and a Fastfood map that is linear, nearly isometric and reproducible."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.models.where import select
from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

SAID = oracle.load("intrinsic-said")
WHERE = SAID.traits.where


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def fastfood() -> Any:
    return SAID.math()


def project(theta: Tensor, n: int, name: str = "a") -> Tensor:
    projected: Tensor = fastfood().Fastfood.apply(theta, n, name)
    return projected


@pytest.mark.parametrize("dimension", [19, 200, 10_000])
def test_that_the_count_is_the_dimension(model: Path, dimension: int) -> None:
    for variant in ("said", "did"):
        params = {"dimension": dimension, "variant": variant}
        assert oracle.tune(model, "intrinsic-said", params, where=WHERE).trainable == dimension


def test_that_said_spends_one_number_on_every_tensor_of_bert() -> None:
    sites = select(adapting.published("BertModel"), WHERE)
    declared = SAID.module.declare_over(SAID.module.Params(), sites)  # type: ignore[attr-defined]
    assert {decls[0].shape for decls in declared.values()} == {(1000 - 12 * 16,)}
    with pytest.raises(ValueError, match="192 tensors"):
        SAID.module.declare_over(SAID.module.Params.model_validate({"dimension": 192}), sites)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("d", "n"), [(5, 12), (16, 16), (50, 12), (3, 1)])
def test_that_the_map_is_linear_and_its_gradient_is_its_transpose(d: int, n: int) -> None:
    dense = torch.stack([project(unit, n) for unit in torch.eye(d, dtype=torch.float64)], dim=1)
    theta = torch.randn(d, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.allclose(project(theta, n), dense @ theta, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: project(x, n), theta)


@pytest.mark.parametrize("width", [2, 4, 32])
def test_that_the_transform_is_that_of_a_hadamard_matrix(width: int) -> None:
    matrix = torch.stack([fastfood().hadamard(unit) for unit in torch.eye(width)])
    assert set(matrix.flatten().tolist()) == {1.0, -1.0}
    assert torch.equal(matrix @ matrix, width * torch.eye(width))


@pytest.mark.parametrize("d", [64, 700, 5000])
def test_that_lengths_are_kept(d: int) -> None:
    generator = torch.Generator().manual_seed(0)
    ratios = torch.tensor([_ratio(torch.randn(d, generator=generator), f"draw {i}") for i in range(50)])
    assert ratios.mean().item() == pytest.approx(1, abs=0.02)
    assert ratios.std().item() < 0.05


def test_that_signs_order_and_factors_are_random_and_of_the_right_kind() -> None:
    signs, order, gauss, _ = fastfood()._draw(torch.empty(3000), 4000, "layers.0.q.weight")
    assert sorted(order.tolist()) == list(range(4096))
    assert abs(torch.corrcoef(torch.stack((order.float(), torch.arange(4096.0))))[0, 1].item()) < 0.05
    assert set(signs.flatten().tolist()) == {1.0, -1.0}
    assert signs.mean().abs().item() < 0.05
    assert gauss.mean().abs().item() < 0.05
    assert gauss.std().item() == pytest.approx(1, abs=0.05)
    assert (gauss**4).mean().item() == pytest.approx(3, abs=0.5)


def test_that_the_name_alone_decides_the_map() -> None:
    """The figures hold on every machine and device: a saved result stays readable."""
    theta = torch.tensor([1.0, 2.0, 3.0])
    assert project(theta, 5).tolist() == pytest.approx([1.017021, -3.161663, -0.865555, -1.148395, -3.229457], abs=1e-5)
    assert not torch.allclose(project(theta, 5, "b"), project(theta, 5))


def test_that_factors_left_at_one_make_said_the_plain_map(model: Path) -> None:
    said = oracle.tune(model, "intrinsic-said", {"dimension": 118}, where=WHERE)
    did = oracle.tune(model, "intrinsic-said", {"dimension": 100, "variant": "did"}, where=WHERE)
    theta = torch.randn(100, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for attached in (said, did):
            attached.tensors["0.all.theta"].copy_(theta)
    assert torch.equal(oracle.logits(said.model), oracle.logits(did.model))


def test_that_the_numbers_and_the_seed_are_the_whole_result(model: Path) -> None:
    params = {"dimension": 300, "seed": 5}
    tuned = oracle.tune(model, "intrinsic-said", params, where=WHERE)
    losses = oracle.our_losses(tuned)
    assert losses[-1] < losses[0]
    again = oracle.tune(model, "intrinsic-said", params, where=WHERE)
    with torch.no_grad():
        for name, tensor in again.tensors.items():
            tensor.copy_(tuned.tensors[name])
    assert sum(tensor.numel() for tensor in tuned.saved(state=False).values()) == 300
    assert torch.equal(oracle.logits(again.model), oracle.logits(tuned.model))


def _ratio(x: Tensor, name: str) -> float:
    return float(torch.linalg.vector_norm(project(x, 3000, name)) / torch.linalg.vector_norm(x))
