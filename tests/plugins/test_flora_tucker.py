"""FLoRA: its count, its Tucker product in any number of dimensions, and LoRA as a special case."""

from pathlib import Path

import pytest
import torch

from studio.api import Kind, Site
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_a_core_of_eight_on_768_counts_as_published() -> None:
    assert oracle.count("flora-tucker", {}, [oracle.linear("a", "q", 768, 768)]) == 12_352


@pytest.mark.parametrize(
    ("shape", "equation"),
    [
        ((12, 20), "ab,xa,yb->xy"),
        ((12, 6, 3, 5), "abcd,xa,yb,zc,wd->xyzw"),
        ((8, 6, 3, 5, 4), "abcde,xa,yb,zc,wd,ve->xyzwv"),
    ],
)
def test_that_the_update_is_the_tucker_product_of_bounded_rank(shape: tuple[int, ...], equation: str) -> None:
    method = oracle.load("flora-tucker")
    kind: Kind = "linear" if len(shape) == 2 else "conv"
    site = Site("a", kind, "other", 0, shape[1], shape[0], shape, has_bias=False)
    params = method.module.Params.model_validate({"rank_in": 3, "rank_out": 4, "scale": 1.5})
    (place,) = oracle.loose_places(method, params, [site])
    core, *factors = place.tensors.values()
    with torch.no_grad():
        core.normal_()
        change, _ = method.math().merge(params, site, place.tensors, torch.zeros(shape), None)  # type: ignore[union-attr]
        assert torch.allclose(change, 1.5 * torch.einsum(equation, core, *factors), atol=1e-5)
    for i, rank in enumerate(core.shape):
        assert torch.linalg.matrix_rank(change.movedim(i, 0).flatten(1)) <= rank


def test_that_a_grouped_strided_convolution_runs_with_the_merged_kernel() -> None:
    method = oracle.load("flora-tucker")
    conv = torch.nn.Conv2d(6, 8, (3, 5), stride=2, padding=1, groups=2)
    shape = tuple(conv.weight.shape)
    site = Site("a", "conv", "conv", 0, shape[1], 8, shape, has_bias=True)
    params = method.module.Params()
    (place,) = oracle.loose_places(method, params, [site])
    x = torch.randn(2, 6, 9, 11)
    with torch.no_grad():
        place.tensors["G"].normal_()
        merged, bias = method.math().merge(params, site, place.tensors, conv.weight, conv.bias)  # type: ignore[union-attr]
        change = torch.nn.functional.conv2d(x, merged - conv.weight, None, 2, 1, 1, 2)
        whole = torch.nn.functional.conv2d(x, merged, bias, 2, 1, 1, 2)
        assert torch.allclose(conv(x) + change, whole, atol=1e-5)


def test_that_only_the_core_moves_in_the_first_step_and_all_in_the_second(model: Path) -> None:
    attached = oracle.tune(model, "flora-tucker")
    start = {name: tensor.detach().clone() for name, tensor in attached.tensors.items()}
    moved = oracle.watched(
        attached, 2, lambda: {name for name, tensor in attached.tensors.items() if not tensor.equal(start[name])}
    )
    assert moved == [{name for name in start if name.endswith(".G")}, set(start)]


def test_that_peft_lora_is_the_case_of_an_identity_core(model: Path) -> None:
    from peft import LoraConfig

    attached = oracle.tune(model, "flora-tucker", {"rank_in": 4, "rank_out": 4, "scale": 2.0})
    theirs = oracle.wrap(model, LoraConfig(r=4, lora_alpha=8, target_modules=oracle.TARGETS))
    with torch.no_grad():
        for place in attached.places(0):
            place.tensors["G"].copy_(torch.eye(4))
            layer = theirs.get_submodule(f"base_model.model.{attached.paths[place.site.path]}")
            layer.get_parameter("lora_A.default.weight").copy_(place.tensors["U1"].mT)
            layer.get_parameter("lora_B.default.weight").copy_(place.tensors["U0"])
    assert oracle.difference(attached, theirs) < 1e-5
