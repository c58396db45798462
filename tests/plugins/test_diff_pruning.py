"""Diff pruning: the gates' distribution, the expected L0 norm, and what the pruning leaves."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.api import Step
from studio.engine.attach import Attached
from studio.engine.merge import merge_into_base
from studio.engine.plugins import after_step, extra_loss
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

WHERE = "role in (q, v)"
ENTRIES = 2 * (32 * 32 + 16 * 32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def gate(alpha: float, *, noisy: bool) -> torch.Tensor:
    math: Any = oracle.load("diff-pruning").math()
    drawn: torch.Tensor = math.gate(torch.full((100_000,), alpha), noisy=noisy)
    return drawn


def open_gates(attached: Attached) -> int:
    return sum(int((t > 0).sum()) for name, t in attached.tensors.items() if name.endswith("alpha"))


def test_that_changes_and_gates_count_twice_and_the_structured_variant_once_more(model: Path) -> None:
    assert oracle.tune(model, "diff-pruning", where=WHERE).trainable == 2 * ENTRIES
    assert oracle.tune(model, "diff-pruning", {"structured": True}, where=WHERE).trainable == 2 * ENTRIES + 4


def test_that_gates_are_shut_and_open_as_often_as_the_hard_concrete_distribution_says() -> None:
    """With location 0 and stretch (-1.5, 1.5): P(z = 0) = 1/2 and P(z = 1) = sigmoid(-log 5) = 1/6."""
    torch.manual_seed(0)
    gates = gate(0.0, noisy=True)
    assert (gates == 0).float().mean().item() == pytest.approx(1 / 2, abs=0.01)
    assert (gates == 1).float().mean().item() == pytest.approx(1 / 6, abs=0.01)
    assert gate(0.5, noisy=False)[0].item() == pytest.approx(3 / (1 + 2.718281828**-0.5) - 1.5)


@pytest.mark.parametrize("structured", [False, True])
def test_that_the_loss_grows_by_the_penalty_of_the_expected_open_gates(model: Path, structured: bool) -> None:
    attached = oracle.tune(model, "diff-pruning", {"penalty": 0.5, "structured": structured}, where=WHERE)
    added = extra_loss(attached, Step(1, 10, 1e-3))
    assert added is not None
    is_open = 1 / (1 + 2.718281828**-5)
    assert added.item() == pytest.approx(0.5 * ENTRIES * is_open ** (2 if structured else 1), rel=1e-4)


def test_that_a_larger_penalty_leaves_fewer_gates_open(model: Path) -> None:
    left = []
    for penalty in (0.0, 1.0):
        attached = oracle.tune(model, "diff-pruning", {"penalty": penalty, "prune_at": 1}, where=WHERE)
        optimizer = torch.optim.SGD(attached.tensors.values(), lr=100.0)
        for step in range(20):
            added = extra_loss(attached, Step(step + 1, 100, 1e-3))
            assert added is not None
            added.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
        left.append(open_gates(attached))
    assert left[1] < left[0] == ENTRIES


def test_that_pruning_keeps_the_largest_changes_and_their_sizes(model: Path) -> None:
    attached = oracle.tune(model, "diff-pruning", {"density": 0.1, "prune_at": 1}, where=WHERE)
    oracle.fill(attached)
    before = [place.tensors["change"].detach().clone() for place in attached.places(0)]
    after_step(attached, Step(10, 10, 1e-3))
    kept = [place.tensors["alpha"] > 0 for place in attached.places(0)]
    assert sum(int(mask.sum()) for mask in kept) == int(0.1 * ENTRIES)
    smallest = min(size[mask].abs().min() for size, mask in zip(before, kept, strict=True) if mask.any())
    assert all((size[~mask].abs() <= smallest).all() for size, mask in zip(before, kept, strict=True))


def test_that_what_was_shut_stays_shut_and_the_kept_changes_train_on(model: Path) -> None:
    attached = oracle.tune(model, "diff-pruning", {"density": 0.05, "prune_at": 0.5}, where=WHERE)
    base = [place.weight() for place in attached.places(0)]
    losses = oracle.our_losses(attached, lr=1e-2)
    assert losses[-1] < losses[0]
    tuned = oracle.logits(attached.model)
    merged = merge_into_base(attached)
    changes = [
        merged.get_submodule(attached.paths[place.site.path]).get_parameter("weight") - start
        for place, start in zip(attached.places(0), base, strict=True)
    ]
    assert 0 < sum(int((change != 0).sum()) for change in changes) <= int(0.05 * ENTRIES)
    assert (oracle.logits(merged) - tuned).abs().max().item() < 1e-5
