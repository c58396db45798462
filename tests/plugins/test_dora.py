"""DoRA against peft, and the length of its rows."""

from pathlib import Path

import pytest
import torch

from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

PARAMS = {"rank": 4, "alpha": 8}
NAMES = {
    "A": "lora_A.default.weight",
    "B": "lora_B.default.weight",
    "m": "lora_magnitude_vector.default.weight",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_it_counts_one_magnitude_per_row_more_than_lora() -> None:
    sites = [oracle.linear("a", "q", 768, 768), oracle.linear("b", "down", 3072, 768)]
    lora = oracle.count("lora", {"rank": 8}, sites)
    assert oracle.count("dora", {"rank": 8}, sites) == lora + 2 * 768 == 8 * (2 * 768 + 3072 + 768) + 2 * 768


def test_that_the_magnitudes_start_as_the_norms_of_the_rows(model: Path) -> None:
    for place in oracle.tune(model, "dora", PARAMS).places(0):
        assert torch.equal(place.tensors["m"], place.weight().norm(dim=1))


def test_that_peft_gives_the_same_outputs_and_losses(model: Path) -> None:
    from peft import LoraConfig

    attached = oracle.tune(model, "dora", PARAMS)
    theirs = oracle.wrap(model, LoraConfig(r=4, lora_alpha=8, target_modules=oracle.TARGETS, use_dora=True))
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, NAMES)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


def test_that_the_rows_of_the_merged_weight_are_as_long_as_their_magnitudes(model: Path) -> None:
    attached = oracle.tune(model, "dora", PARAMS)
    oracle.fill(attached)
    for at in (at for tuned in attached.tuned.values() for at in tuned.placed):
        weight = next(place.weight() for place in attached.places(0) if place.site == at.site)
        merged, _ = at.merge(weight, None)
        assert torch.allclose(merged.norm(dim=1), at.tensors["m"].abs(), atol=1e-5)
