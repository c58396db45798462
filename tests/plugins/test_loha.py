"""LoHa against peft, on linear maps and convolutions, and the rank it reaches."""

from pathlib import Path

import pytest
import torch

from studio.api import Site
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

NAMES = {"B1": "hada_w1_a.default", "A1": "hada_w1_b.default", "B2": "hada_w2_a.default", "A2": "hada_w2_b.default"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_it_counts_twice_as_much_as_lora() -> None:
    sites = [oracle.linear("a", "q", 768, 768), oracle.linear("b", "down", 3072, 768)]
    assert oracle.count("loha", {"rank": 8}, sites) == 2 * oracle.count("lora", {"rank": 8}, sites)


def test_that_peft_gives_the_same_outputs_and_losses(model: Path) -> None:
    from peft import LoHaConfig

    attached = oracle.tune(model, "loha", {"rank": 4, "alpha": 8})
    theirs = oracle.wrap(model, LoHaConfig(r=4, alpha=8, target_modules=oracle.TARGETS))
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, NAMES)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


def test_that_peft_gives_the_same_change_of_a_convolution() -> None:
    from peft import LoHaConfig

    conv = torch.nn.Conv2d(6, 8, 3)
    place, change = oracle.conv_change("loha", {"rank": 3, "alpha": 6}, conv)
    layer = oracle.wrapped_conv(conv, LoHaConfig(r=3, alpha=6, target_modules=["0"]))
    with torch.no_grad():
        for own, other in NAMES.items():
            layer.get_parameter(other).copy_(place.tensors[own])
        assert torch.allclose(change, layer.get_delta_weight("default"), atol=1e-6)  # type: ignore[operator]


def test_that_the_change_has_up_to_the_square_of_the_rank() -> None:
    method = oracle.load("loha")
    params = method.module.Params.model_validate({"rank": 4})
    site = Site("a", "linear", "q", 0, 32, 32, (32, 32), has_bias=False)
    (place,) = oracle.loose_places(method, params, [site])
    with torch.no_grad():
        place.tensors["A2"].normal_()
        change, _ = method.math().merge(params, site, place.tensors, torch.zeros(32, 32), None)  # type: ignore[union-attr]
    assert torch.linalg.matrix_rank(change) == 16
