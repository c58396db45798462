"""HiRA against peft, on linear maps and convolutions, and the rank of its change."""

from pathlib import Path

import pytest
import torch

from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

NAMES = {"A": "hira_A.default", "B": "hira_B.default"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_it_counts_as_much_as_lora() -> None:
    sites = [oracle.linear("a", "q", 768, 768), oracle.linear("b", "down", 3072, 768)]
    assert oracle.count("hira", {"rank": 8}, sites) == oracle.count("lora", {"rank": 8}, sites)


def test_that_peft_gives_the_same_outputs_and_losses(model: Path) -> None:
    from peft import HiraConfig

    attached = oracle.tune(model, "hira", {"rank": 4})
    theirs = oracle.wrap(model, HiraConfig(r=4, target_modules=oracle.TARGETS))
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, NAMES)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached, lr=3e-2), oracle.peft_losses(theirs, lr=3e-2))


def test_that_a_change_of_rank_one_factors_has_the_rank_of_the_weight(model: Path) -> None:
    attached = oracle.tune(model, "hira", {"rank": 1})
    oracle.fill(attached)
    for place in attached.places(0):
        at = attached.tuned[attached.paths[place.site.path]].placed[0]
        change = at.merge(place.weight(), None)[0] - place.weight()
        assert torch.linalg.matrix_rank(change) == min(place.site.shape)
