"""SaRA: the smallest weights and no others, a low rank, and a choice that is renewed once."""

from pathlib import Path

import pytest
import torch

from studio.api import Step
from studio.engine.attach import Attached
from studio.engine.merge import merge_into_base
from studio.engine.plugins import after_step, extra_loss
from studio.models.sites import find_sites
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

WHERE = "role in (q, k, v)"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("sara") / "model", hidden=96)


def entries(attached: Attached) -> list[torch.Tensor]:
    """The matrices of the trained entries alone."""
    found = []
    for place in attached.places(0):
        weight, index = place.weight(), place.tensors["index"]
        alone = torch.zeros(weight.numel())
        alone[index] = weight.flatten()[index] + place.tensors["values"].detach()
        found.append(alone.view_as(weight))
    return found


def test_that_the_count_is_that_of_the_entries_below_the_bound(model: Path) -> None:
    attached = oracle.tune(model, "sara", {"share": 0.2}, where=WHERE)
    below = [int((p.weight().abs() <= p.tensors["bound"]).sum()) for p in attached.places(0)]
    assert attached.trainable == sum(below) == 2 * (int(0.2 * 96 * 96) + 2 * int(0.2 * 48 * 96))


def test_that_weights_above_the_bound_stay_bit_identical(model: Path) -> None:
    attached = oracle.tune(model, "sara", where=WHERE)
    base = [(p.site.path, p.weight(), p.tensors["bound"].clone()) for p in attached.places(0)]
    losses = oracle.our_losses(attached)
    assert losses[-1] < losses[0]
    merged = merge_into_base(attached)
    for path, weight, bound in base:
        now = merged.get_submodule(attached.paths[path]).get_parameter("weight")
        above = weight.abs() > bound
        assert torch.equal(now[above], weight[above])
        assert not torch.equal(now, weight)


def test_that_all_entries_without_penalty_and_renewal_are_full_fine_tuning(model: Path) -> None:
    ours = oracle.tune(model, "sara", {"share": 1, "penalty": 0, "renew_at": 1}, where=WHERE)
    full = oracle.tune(model, "full", where=WHERE)
    assert ours.trainable == full.trainable
    pairs = zip(oracle.our_losses(ours, lr=1e-3), oracle.our_losses(full, lr=1e-3), strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-5


def test_that_the_penalty_is_the_nuclear_norm_of_one_large_matrix_a_step(model: Path) -> None:
    attached = oracle.tune(model, "sara", {"penalty": 0.5}, where=WHERE)
    oracle.fill(attached)
    large = [0.5 * torch.linalg.svdvals(matrix).sum().item() for matrix in entries(attached) if min(matrix.shape) > 64]
    assert len(large) == 2
    added = [extra_loss(attached, Step(step, 20, 1e-3)) for step in range(1, 11)]
    values = [term.item() for term in added if term is not None]
    assert len(values) == 10
    chosen = {min(range(2), key=lambda i: abs(large[i] - value)) for value in values}
    assert chosen == {0, 1}
    assert all(min(abs(value - each) for each in large) < 1e-3 for value in values)


def test_that_a_larger_penalty_lowers_the_nuclear_norm(model: Path) -> None:
    norms = []
    for penalty in (0.0, 1e-3, 1.0):
        attached = oracle.tune(model, "sara", {"penalty": penalty}, where="role == q")
        oracle.our_losses(attached, lr=5e-5)
        norms.append(sum(torch.linalg.svdvals(matrix).sum().item() for matrix in entries(attached)))
    assert norms[0] > norms[1] > norms[2]


def test_that_entries_that_outgrew_the_bound_stand_still_after_the_renewal(model: Path) -> None:
    attached = oracle.tune(model, "sara", where=WHERE)
    places = attached.places(0)
    oracle.fill(attached, std=float(places[0].tensors["bound"]))
    after_step(attached, Step(4, 10, 1e-3))
    assert not any(place.tensors["still"].any() for place in places)
    after_step(attached, Step(5, 10, 1e-3))
    before = [place.tensors["values"].detach().clone() for place in places]
    for place, matrix in zip(places, entries(attached), strict=True):
        now = matrix.flatten()[place.tensors["index"]].abs()
        assert torch.equal(place.tensors["still"], now > place.tensors["bound"])
        assert 0 < int(place.tensors["still"].sum()) < len(now)
    oracle.fill(attached)
    after_step(attached, Step(6, 10, 1e-3))
    for place, value in zip(places, before, strict=True):
        assert torch.equal(place.tensors["values"] == value, place.tensors["still"])


@pytest.mark.parametrize("budget", [40, 41, 1_000, 18_431, 10**9])
def test_that_a_fit_uses_up_the_budget_to_the_last_entry(model: Path, budget: int) -> None:
    sara = oracle.load("sara")
    sites = [site for site in find_sites(model) if site.role in ("q", "k")]
    fitted = sara.fit(sara.module.Params(), sites, budget)
    most = 2 * (96 * 96 + 48 * 96)
    assert min(budget, most) - 4 < oracle.count("sara", fitted.model_dump(), sites) <= budget
