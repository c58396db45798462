"""LoKr against peft, on linear maps and convolutions, and how its size grows."""

from pathlib import Path

import pytest
import torch

from studio.extensions.declaring import fit_params
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

WHOLE = {"C": "lokr_w1.default", "D": "lokr_w2.default"}
SPLIT = {"C": "lokr_w1.default", "B": "lokr_w2_a.default", "A": "lokr_w2_b.default"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_it_counts_the_small_factor_and_the_lesser_form_of_the_large_one() -> None:
    sites = [oracle.linear("a", "q", 768, 768)]  # 768 = 24 * 32
    assert oracle.count("lokr", {"rank": 4}, sites) == 24 * 24 + 4 * (32 + 32)
    assert oracle.count("lokr", {"rank": 16}, sites) == 24 * 24 + 32 * 32
    assert oracle.count("lokr", {"rank": 4, "split": 8}, sites) == 8 * 8 + 4 * (96 + 96)


@pytest.mark.parametrize(("rank", "names"), [(2, SPLIT), (8, WHOLE)])
def test_that_peft_gives_the_same_outputs_and_losses(model: Path, rank: int, names: dict[str, str]) -> None:
    from peft import LoKrConfig

    attached = oracle.tune(model, "lokr", {"rank": rank, "alpha": 8})
    theirs = oracle.wrap(model, LoKrConfig(r=rank, alpha=8, target_modules=oracle.TARGETS))
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, names)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


def test_that_peft_gives_the_same_change_of_a_convolution() -> None:
    from peft import LoKrConfig

    conv = torch.nn.Conv2d(12, 20, 3)
    place, change = oracle.conv_change("lokr", {"rank": 1, "alpha": 2}, conv)
    layer = oracle.wrapped_conv(conv, LoKrConfig(r=1, alpha=2, target_modules=["0"]))
    with torch.no_grad():
        for own, other in SPLIT.items():
            layer.get_parameter(other).copy_(place.tensors[own])
        assert torch.allclose(change, layer.get_delta_weight("default"), atol=1e-6)  # type: ignore[operator]


def test_that_a_budget_beyond_the_rank_splits_more_coarsely() -> None:
    method = oracle.load("lokr")
    sites = [oracle.linear("a", "q", 768, 768)]
    counts = []
    for budget in (700, 1_600, 9_000, 80_000, 500_000):
        fitted = fit_params(method, method.module.Params(), sites, budget)
        counts.append(oracle.count("lokr", fitted.model_dump(), sites))
        assert 0.9 * budget < counts[-1] <= budget
    assert counts == sorted(set(counts))
