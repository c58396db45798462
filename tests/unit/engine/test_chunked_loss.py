"""Some targets at a time: the loss, gradients and scores of all logits at once, which never exist."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.profiler import ProfilerActivity, profile

from studio.core.errors import BugError
from studio.core.plan import Plan
from studio.engine import chunked_loss
from studio.engine.batches import Batch, Row, collate
from studio.engine.chunked_loss import chunked_cross_entropy, plain_head, scores_in_parts
from studio.engine.row_attention import attend_by_row
from studio.engine.session import Session
from studio.engine.tasks import batch_logits, batch_loss, batch_scores, loss_sum
from studio.estimate import memory as foreseen
from studio.models.families import FAMILIES
from studio.simulate.stand_in import open_session
from tests.helpers import families
from tests.helpers.simulated import CONFIGS, ENCODERS, Case, planned

VOCAB, WIDTH, TARGETS = 300, 24, 50
BYTES_BEFORE = dict(chunked_loss.LOGITS_BYTES)


def test_that_the_estimate_counts_what_the_engine_makes_at_once() -> None:
    assert BYTES_BEFORE == foreseen.LOGITS_BYTES


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chunked_loss.LOGITS_BYTES, "cpu", 4 * 1024 * 7)


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
@pytest.mark.parametrize("biased", [True, False])
def test_that_parts_sum_up_to_the_whole(dtype: torch.dtype, apart: float, *, biased: bool) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(TARGETS, WIDTH).to(dtype).requires_grad_()
    weight, bias = torch.randn(VOCAB, WIDTH).to(dtype), torch.randn(VOCAB).to(dtype) if biased else None
    targets = torch.randint(VOCAB, (TARGETS,))
    expected = cross_entropy(linear(hidden, weight, bias).float(), targets, reduction="sum")
    made = chunked_cross_entropy(hidden, weight, bias, targets)
    assert made.dtype == torch.float32
    assert made.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, theirs = (torch.autograd.grad(loss / 7, hidden)[0] for loss in (made, expected))
    assert ours.dtype == dtype
    assert float((ours - theirs).float().norm() / theirs.float().norm()) < apart


def test_that_a_factor_beyond_half_precision_still_scales_the_gradient() -> None:
    hidden = torch.full((1, 2), 0.5, dtype=torch.float16, requires_grad=True)
    weight = torch.tensor([[1e-3, 0.0], [0.0, 1e-3]], dtype=torch.float16)
    (made,) = torch.autograd.grad(2.0**17 * chunked_cross_entropy(hidden, weight, None, torch.tensor([0])), hidden)
    assert torch.isfinite(made).all()
    assert made.abs().max() > 60


def session_of(plan: Plan, case: Case) -> Session:
    torch.manual_seed(0)
    session = open_session(plan, case.shape, device="cpu")
    session.model.eval()
    with torch.no_grad():
        for tensor in session.attached.tensors.values():
            tensor.add_(0.02 * torch.randn_like(tensor))
    return session


def batch_of(lengths: tuple[int, ...] = (9, 30, 17)) -> Batch:
    rng = np.random.default_rng(0)
    rows = [Row(rng.integers(3, 1000, n), np.arange(n) >= 2) for n in lengths]
    return collate(rows, pad_id=0, device="cpu", packed=False, classes=False)


def gradients(session: Session, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: tensor.grad for name, tensor in session.attached.tensors.items() if tensor.grad is not None}
    session.optimizer.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("family", sorted(name for name in CONFIGS if name not in ENCODERS))
def test_that_every_family_learns_the_same(family: str) -> None:
    changes: dict[str, Any] = {"granite": {"logits_scaling": 3.0}}.get(family, {})
    case = Case(family, changes=changes)
    with planned(case) as plan:
        session = session_of(plan, case)
        batch = batch_of()
        loss, expected = batch_loss(session.model, batch), loss_sum(batch_logits(session.model, batch), batch)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        ours, theirs = gradients(session, loss), gradients(session, expected)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), name


@pytest.mark.parametrize("family", sorted(name for name in CONFIGS if name not in ENCODERS))
def test_that_every_family_is_scored_the_same(family: str) -> None:
    case = Case(family)
    choices = [5, 70, 900, 12]
    with planned(case) as plan, torch.inference_mode():
        session = session_of(plan, case)
        batch = batch_of()
        scores, logits = batch_scores(session.model, batch, choices), batch_logits(session.model, batch)
    assert scores.loss.item() == pytest.approx(loss_sum(logits, batch).item(), rel=1e-5)
    assert scores.best.tolist() == logits.argmax(-1).tolist()
    assert scores.chosen is not None
    assert scores.chosen.tolist() == logits[batch.first_targets][:, choices].argmax(-1).tolist()


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.kind == "decoder"])
def test_that_every_family_known_packed_or_not_has_the_loss_of_its_rows_alone(family: str) -> None:
    model: Any = families.build(family).eval().requires_grad_(False)
    packs = FAMILIES[family].packs
    if packs:
        attend_by_row(model)
    together, *alone = (collate(rows, pad_id=0, device="cpu", packed=packs, classes=False) for rows in row_groups())
    assert batch_loss(model, together).item() == pytest.approx(
        sum(loss_sum(batch_logits(model, batch), batch).item() for batch in alone), rel=1e-5
    )


def row_groups() -> list[list[Row]]:
    """Three rows together, and each alone."""
    rng = np.random.default_rng(0)
    rows = [Row(rng.integers(3, families.VOCAB, n), np.arange(n) >= 2) for n in (5, 9, 7)]
    return [rows, *([row] for row in rows)]


@pytest.mark.parametrize(
    ("case", "plain"),
    [
        (Case("llama"), True),
        (Case("llama", precision="bf16"), True),
        (Case("llama", "full", where="role == head"), False),
        (Case("llama", "full", "bf16", where="kind == embedding", changes={"tie_word_embeddings": True}), False),
        (Case("llama", where="role == head"), False),
        (Case("gemma2"), False),
        (Case("granite", changes={"logits_scaling": 3.0}), False),
    ],
    ids=str,
)
def test_that_only_a_frozen_map_with_nothing_on_or_behind_it_is_computed_in_parts(case: Case, *, plain: bool) -> None:
    with planned(case) as plan:
        assert (plain_head(session_of(plan, case).model) is not None) == plain


def test_that_a_model_which_changes_its_logits_unannounced_is_an_error() -> None:
    case = Case("llama")
    with planned(case) as plan:
        session = session_of(plan, case)
    plain = session.model.forward

    def doubled(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        output.logits = 2 * output.logits
        return output

    vars(session.model)["forward"] = doubled
    with pytest.raises(BugError, match="changes its logits"):
        batch_loss(session.model, batch_of())
    head = session.model.get_output_embeddings()  # type: ignore[operator]
    assert isinstance(head, nn.Linear)
    assert "forward" not in vars(head)


def backward_of(hidden: Tensor, weight: Tensor, targets: Tensor) -> None:
    chunked_cross_entropy(hidden, weight, None, targets).backward()  # type: ignore[no-untyped-call]


def scores_of(hidden: Tensor, weight: Tensor, targets: Tensor) -> None:
    scores_in_parts(hidden.detach(), weight, None, targets)


@pytest.mark.parametrize("compute", [backward_of, scores_of])
def test_that_the_logits_never_exist_all_at_once(compute: Callable[..., None]) -> None:
    hidden, weight = torch.randn(TARGETS * 20, WIDTH, requires_grad=True), torch.randn(1024, WIDTH)
    targets = torch.randint(1024, (TARGETS * 20,))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        compute(hidden, weight, targets)
    now = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    assert most < 4 * (2 * 7 * 1024 + 4 * TARGETS * 20 * WIDTH)
    assert most < len(targets) * 1024
