"""Maps that read one input are computed together with their factors: the same result as each for itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from studio.engine import hooks, low_rank
from studio.engine.batches import Row, collate
from studio.engine.session import Session
from studio.engine.tasks import batch_loss
from studio.simulate.stand_in import open_session
from tests.helpers.simulated import Case, planned

WHERE = {"all": "kind == linear and layer >= 0", "some": "role in (q, v, up)"}


def opened(case: Case, *, apart: bool = False) -> Session:
    with planned(case) as plan:
        torch.manual_seed(0)
        session = open_session(plan, case.shape, device="cpu")
    torch.manual_seed(1)
    for tensor in session.attached.tensors.values():
        tensor.data.add_(0.02 * torch.randn_like(tensor))
    if apart:
        for tuned in session.attached.tuned.values():
            tuned.siblings = hooks.Siblings()
    session.model.train()
    return session


def loss_and_gradients(session: Session) -> tuple[float, dict[str, Tensor]]:
    plan = session.plan
    rng = np.random.default_rng(0)
    rows = [Row(rng.integers(3, 1000, n), np.arange(n) >= n // 2) for n in (9, 30)]
    batch = collate(rows, pad_id=0, device="cpu", packed=plan.packing, classes=False)
    torch.manual_seed(2)
    loss = batch_loss(session.model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {name: tensor.grad for name, tensor in session.attached.tensors.items()}  # type: ignore[misc]


def assert_same(one: Session, other: Session) -> None:
    (loss, gradients), (expected, theirs) = loss_and_gradients(one), loss_and_gradients(other)
    assert loss == pytest.approx(expected, rel=1e-6)
    for name, gradient in theirs.items():
        assert torch.allclose(gradients[name], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max())), name


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many maps were computed at a time."""
    sizes: list[int] = []

    def compute(x: Tensor, bases: Any, changes: Any) -> tuple[Tensor, ...]:
        sizes.append(len(bases))
        return low_rank.low_rank_linears(x, bases, changes)

    with monkeypatch.context() as patch:
        patch.setattr(hooks, "low_rank_linears", compute)
        yield sizes


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "recomputing"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("where", "sizes"), [("all", [3, 1, 2, 1]), ("some", [2, 1])])
def test_that_together_they_give_what_each_gives_for_itself(
    monkeypatch: pytest.MonkeyPatch, where: str, sizes: list[int], dropout: float, *, checkpointing: bool
) -> None:
    case = Case("llama", params={"dropout": dropout}, where=WHERE[where], checkpointing=checkpointing)
    together = opened(case)
    with counted(monkeypatch) as found:
        loss_and_gradients(together)
    assert found[: len(sizes)] == sizes
    assert not together.attached.flow.ahead  # or it would keep the graph
    assert_same(opened(case), opened(case, apart=True))


def test_that_each_is_computed_for_itself_outside_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(Case("llama", where=WHERE["all"]))
    ids = torch.arange(3, 40)[None]
    with counted(monkeypatch) as found, torch.inference_mode():
        session.model.eval()(input_ids=ids)
    assert set(found) == {1}


def test_that_maps_given_other_inputs_go_on_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("llama", where=WHERE["all"])

    def halved(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0] * 0.5,)

    sessions = [opened(case), opened(case, apart=True)]
    for session in sessions:
        session.model.model.layers[0].self_attn.k_proj.register_forward_pre_hook(halved)
    assert_same(*sessions)
    with counted(monkeypatch) as found:
        loss_and_gradients(sessions[0])
    assert found[:5] == [1, 1, 1, 1, 2]


def test_that_maps_trained_or_changed_otherwise_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(Case("llama", where=WHERE["all"]))
    session.model.model.layers[0].self_attn.k_proj.weight.requires_grad_(True)
    with counted(monkeypatch) as found:
        loss_and_gradients(session)
    assert found[:3] == [2, 1, 2]
