"""Attention that drops weights: the result and gradients of the written-out formula, and no weights kept."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.engine import dropped_attention as dropping
from studio.engine.batches import Row, collate
from studio.engine.dropout import draw_kept, mean_factor
from studio.engine.dropped_attention import dropped_attention
from studio.engine.session import Session
from studio.engine.tasks import batch_loss
from studio.simulate.stand_in import open_session
from tests.helpers.simulated import Case, planned

ROWS, HEADS, LENGTH, SIZE = 3, 2, 17, 8
SCALE = 0.3
# the shares that the configs of these families have for attention's weights
SHARES = {
    "bert": "attention_probs_dropout_prob", "roberta": "attention_probs_dropout_prob",
    "electra": "attention_probs_dropout_prob", "distilbert": "attention_dropout", "gpt2": "attn_pdrop",
}  # fmt: skip


def operands(dtype: torch.dtype, keys: int = LENGTH) -> list[Tensor]:
    torch.manual_seed(0)
    lengths = (LENGTH, keys, keys)
    return [torch.randn(ROWS, HEADS, length, SIZE).to(dtype).requires_grad_() for length in lengths]


def written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, share: float) -> Tensor:
    kept = draw_kept((ROWS, HEADS, query.shape[2], key.shape[2]), share, query.device)
    scores = SCALE * query.double() @ key.double().transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) * kept * mean_factor(share)) @ value.double()


def masks() -> dict[str, Tensor | None]:
    short = torch.ones(ROWS, 1, LENGTH, LENGTH, dtype=torch.bool)
    short[1, ..., -5:] = False
    return {"none": None, "padded": short, "causal": torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()}


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
@pytest.mark.parametrize("share", [0.1, 0.6])
@pytest.mark.parametrize("mask", ["none", "padded", "causal"])
def test_that_it_is_the_formula(mask: str, share: float, dtype: torch.dtype, apart: float) -> None:
    given, seen = operands(dtype), masks()[mask]
    torch.manual_seed(1)
    found = dropped_attention(*given, seen, share, SCALE)
    torch.manual_seed(1)
    expected = written_out(*given, seen, share)
    direction = torch.randn_like(expected)
    ours = torch.autograd.grad((found.double() * direction).sum(), given)
    theirs = torch.autograd.grad((expected * direction).sum(), given)
    assert found.dtype == dtype
    for one, other in zip((found.detach(), *ours), (expected.detach(), *theirs), strict=True):
        assert float((one.double() - other.double()).norm() / other.double().norm()) < apart


def test_that_only_operands_and_a_byte_a_weight_are_kept() -> None:
    kept: dict[int, int] = {}

    def see(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    given = operands(torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        dropped_attention(*given, None, 0.1, SCALE)
    assert sum(kept.values()) == ROWS * HEADS * LENGTH * (3 * 2 * SIZE + LENGTH)


def loss_and_gradients(session: Session) -> tuple[float, dict[str, Tensor]]:
    rng = np.random.default_rng(0)
    classes = session.plan.task == "classification"
    rows = [Row(rng.integers(3, 1000, n), np.arange(n) >= 2, label=0 if classes else -1) for n in (9, 30, 17)]
    batch = collate(rows, pad_id=0, device="cpu", packed=False, classes=classes)
    loss = batch_loss(session.model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {n: t.grad for n, t in session.attached.tensors.items() if t.grad is not None}


@pytest.mark.parametrize("family", [*SHARES, "llama"])
def test_that_a_model_which_drops_next_to_nothing_learns_like_one_without(
    monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    calls = []

    def counted(query: Tensor, key: Tensor, *rest: Any) -> Tensor:
        calls.append(query.shape)
        return dropped_attention(query, key, *rest)

    monkeypatch.setattr(dropping, "dropped_attention", counted)
    changes: dict[str, Any] = {"num_key_value_heads": 6} if family == "llama" else {}
    found = []
    for share in (1e-9, 0.0):
        name = SHARES.get(family, "attention_dropout")
        quiet = dict.fromkeys(
            ("hidden_dropout_prob", "dropout", "resid_pdrop", "embd_pdrop", "seq_classif_dropout"), 0.0
        )
        case = Case(family, changes={**quiet, **changes, name: share})
        with planned(case) as plan:
            torch.manual_seed(0)
            session = open_session(plan, case.shape, device="cpu")
        with torch.no_grad():
            for tensor in session.attached.tensors.values():
                tensor.add_(0.05 * torch.randn_like(tensor))
        session.model.train()
        found.append(loss_and_gradients(session))
        assert bool(calls) == (share > 0), family
        calls.clear()
    (loss, gradients), (expected, theirs) = found
    assert loss == pytest.approx(expected, rel=1e-5)
    assert gradients.keys() == theirs.keys()
    for tensor, gradient in theirs.items():
        assert torch.allclose(gradients[tensor], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), tensor


def test_that_heads_which_share_keys_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "dropped_attention", lambda *_: pytest.fail("called"))
    case = Case("llama", changes={"attention_dropout": 0.2})
    with planned(case) as plan:
        session = open_session(plan, case.shape, device="cpu")
    session.model.train()
    assert np.isfinite(loss_and_gradients(session)[0])
