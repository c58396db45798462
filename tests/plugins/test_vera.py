"""VeRA against peft, its published count, and the pair that all sites share."""

from pathlib import Path

import pytest
import torch

from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def test_that_rank_1024_on_queries_and_values_of_roberta_base_counts_as_published() -> None:
    sites = [oracle.linear(f"{i}.{role}", role, 768, 768) for i in range(12) for role in ("q", "v")]
    assert oracle.count("vera", {"rank": 1024}, sites) == 24 * (1024 + 768) == 43_008


def test_that_every_site_uses_the_same_pair_which_no_file_holds(model: Path) -> None:
    attached = oracle.tune(model, "vera", {"rank": 16})
    places = attached.places(0)
    assert len({place.tensors[name].data_ptr() for place in places for name in "AB"}) == 2
    assert places[0].tensors["A"].shape == (16, 64)
    assert {name.rsplit(".", 1)[1] for name in attached.saved(state=True)} == {"b", "d"}


def test_that_peft_gives_the_same_outputs_and_losses(model: Path) -> None:
    from peft import VeraConfig

    attached = oracle.tune(model, "vera", {"rank": 16})
    theirs = oracle.wrap(model, VeraConfig(r=16, target_modules=oracle.TARGETS))
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, {"d": "vera_lambda_d.default", "b": "vera_lambda_b.default"})
    pair = attached.places(0)[0].tensors
    with torch.no_grad():
        for name, tensor in theirs.named_buffers():
            if name.endswith((".vera_A.default", ".vera_B.default")):
                tensor.copy_(pair[name.split("vera_")[1][0]])
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))
