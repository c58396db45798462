"""Packed rows are attended to one by one: exactly as masked, in every family, and no row sees another."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from studio.core.errors import BugError
from studio.engine import row_attention as module
from studio.engine.batches import Row, collate
from studio.engine.row_attention import attends_by_row, grouped, packed_rows, row_attention
from studio.engine.session import Session
from studio.engine.tasks import batch_logits, loss_sum
from studio.models.families import FAMILIES
from studio.simulate.stand_in import open_session
from tests.helpers.simulated import CONFIGS, ENCODERS, Case, planned

LENGTHS = (9, 9, 4, 30)
DECODERS = sorted(name for name in CONFIGS if name not in ENCODERS and FAMILIES[name].packs)


def heads(dtype: torch.dtype, kv_heads: int = 2) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = ((6, 16), (kv_heads, 16), (kv_heads, 16))
    return [torch.randn(1, sum(LENGTHS), *shape).to(dtype).transpose(1, 2).requires_grad_() for shape in shapes]


def masked(operands: list[Tensor], window: int | None) -> Tensor:
    """The same by one mask over all rows."""
    row = torch.repeat_interleave(torch.tensor(LENGTHS))
    back = torch.arange(len(row))[:, None] - torch.arange(len(row))
    seen = (row[:, None] == row) & (back >= 0) & (back < (window or len(row)))
    query, key, value = (tensor.double() for tensor in operands)
    return scaled_dot_product_attention(query, key, value, attn_mask=seen, enable_gqa=True).transpose(1, 2)


@pytest.mark.parametrize("most", [module.MOST_WEIGHTS, 0], ids=["written out", "torch's kernel"])
@pytest.mark.parametrize("window", [None, 4, 30])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
@pytest.mark.parametrize("kv_heads", [2, 6])
def test_that_rows_one_by_one_are_as_exact_as_one_mask(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, apart: float, window: int | None, most: int, kv_heads: int
) -> None:
    monkeypatch.setattr(module, "MOST_WEIGHTS", most)
    operands = heads(dtype, kv_heads)
    made, expected = row_attention(*operands, LENGTHS, window=window), masked(operands, window)
    gradient = torch.randn_like(made)
    pairs = zip(
        (made, *torch.autograd.grad(made, operands, gradient)),
        (expected, *torch.autograd.grad(expected, operands, gradient.double())),
        strict=True,
    )
    for ours, theirs in pairs:
        assert ours.dtype == dtype
        assert float((ours.double() - theirs).detach().norm() / theirs.detach().norm()) < apart


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        (LENGTHS, [(9, 9, 4), (30,)]),
        ((7,) * 6, [(7, 7, 7, 7), (7, 7)]),
        ((300, 300, 300), [(300, 300), (300,)]),
        ((1000, 4, 4), [(1000,), (4,), (4,)]),
    ],
    ids=["the next is much longer", "no more than pays", "no more than fits", "too long to be written out"],
)
def test_which_rows_are_attended_to_together(lengths: tuple[int, ...], expected: list[tuple[int, ...]]) -> None:
    query = torch.empty(1, 5, sum(lengths), 16, dtype=torch.bfloat16)
    found = grouped(lengths, query)
    assert [rows.lengths for rows in found] == expected
    assert [rows.start for rows in found] == [sum(sum(before) for before in expected[:i]) for i in range(len(expected))]
    assert all(len(rows.lengths) == 1 for rows in grouped(lengths, query.float()))


@pytest.fixture(params=DECODERS)
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    case = Case(request.param, packed=True, changes={"sliding_window": 8} if "gemma3" in request.param else {})
    with planned(case) as plan:
        torch.manual_seed(0)
        yield open_session(plan, case.shape, device="cpu")


def rows() -> list[Row]:
    rng = np.random.default_rng(0)
    return [Row(rng.integers(3, 1000, n), np.arange(n) >= n // 2) for n in LENGTHS]


def loss_and_gradients(session: Session, batches: list[list[Row]]) -> tuple[float, dict[str, Tensor]]:
    total = 0.0
    for some in batches:
        batch = collate(some, pad_id=0, device="cpu", packed=True, classes=False)
        loss = loss_sum(batch_logits(session.model, batch), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    gradients = {name: tensor.grad for name, tensor in session.attached.tensors.items() if tensor.grad is not None}
    session.optimizer.zero_grad(set_to_none=True)
    return total, gradients


def test_that_packed_rows_give_the_loss_and_gradients_of_rows_alone(session: Session) -> None:
    session.model.eval()  # without dropout
    capped = session.model.config.model_type == "gemma2"  # its scores, which fused attention cannot
    assert attends_by_row(session.model) != capped
    with torch.no_grad():
        for tensor in session.attached.tensors.values():
            tensor.add_(0.02 * torch.randn_like(tensor))
    together, packed = loss_and_gradients(session, [rows()])
    apart, alone = loss_and_gradients(session, [[row] for row in rows()])
    assert together == pytest.approx(apart, rel=1e-5)
    assert packed.keys() == alone.keys()
    for name, gradient in alone.items():
        assert torch.allclose(packed[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), name


def test_that_dropped_attention_weights_keep_rows_apart_too() -> None:
    with planned(Case("gpt2", packed=True)) as plan:
        session = open_session(plan, Case("gpt2", packed=True).shape, device="cpu")
    session.model.train()
    seen: list[Any] = []
    first, *_, last = batch = rows()
    changed = [*batch[:-1], Row(last.ids[::-1].copy(), last.trained)]
    for some in (batch, changed):
        torch.manual_seed(0)
        seen.append(batch_logits(session.model, collate(some, pad_id=0, device="cpu", packed=True, classes=False)))
    assert torch.equal(seen[0][: first.trained.sum()], seen[1][: first.trained.sum()])
    assert not torch.equal(seen[0][-1], seen[1][-1])


def test_that_an_attention_which_is_not_told_of_rows_is_an_error_and_not_a_leak() -> None:
    with planned(Case("llama", packed=True)) as plan:
        session = open_session(plan, Case("llama", packed=True).shape, device="cpu")
    ids = torch.full((1, sum(LENGTHS)), 5)
    del vars(session.model.model.layers[0].self_attn)["studio_rows"]
    with packed_rows(session.model, LENGTHS), pytest.raises(BugError, match="where its rows begin"):
        session.model(input_ids=ids)


def test_that_a_call_after_a_packed_one_attends_as_always() -> None:
    with planned(Case("llama", packed=True)) as plan:
        session = open_session(plan, Case("llama", packed=True).shape, device="cpu")
    ids = torch.arange(3, 3 + sum(LENGTHS))[None]
    before = session.model(input_ids=ids).logits
    batch_logits(session.model, collate(rows(), pad_id=0, device="cpu", packed=True, classes=False))
    assert torch.equal(session.model(input_ids=ids).logits, before)
