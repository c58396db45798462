"""Prompt tuned embedding classification: its start, its two learning rates, and what it trains."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.plan import Plan
from studio.engine.attach import Attached
from studio.engine.batches import collate
from studio.engine.optimizer import build_optimizer, set_rate
from studio.engine.plugins import run_setup
from studio.engine.session import Session, open_session
from studio.engine.tasks import batch_logits, loss_sum
from studio.engine.telemetry import Telemetry
from studio.rundir.log import EventLog
from tests.helpers import adapting, plans, tiny

TOKENS, CLASSES, WIDTH = 6, 2, 32


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


@pytest.fixture
def session(model: Path, tmp_path: Path) -> Session:
    """A classification run of the tiny decoder, whose classifier reads the last token."""
    data = tiny.make_reviews(tmp_path / "reviews.csv")
    plan = plans.make_plan(
        model, data, tmp_path / "library", columns={"text": "text", "label": "label"}, use="ptec",
        params={"tokens": TOKENS, "labels": "good bad"}, task="classification", head=CLASSES * WIDTH,
    )  # fmt: skip
    return opened(plan, tmp_path)


def opened(plan: Plan, folder: Path) -> Session:
    with EventLog(folder / "events.jsonl") as log:
        return open_session(plan, folder / "checkpoints", Telemetry(log, "cpu"))


def loss(session: Session) -> torch.Tensor:
    batch = collate(session.train_rows[:8], pad_id=0, device="cpu", packed=False, classes=True)
    return loss_sum(batch_logits(session.model, batch), batch) / 8


def started(model: Path, ids: list[int], **params: Any) -> torch.Tensor:
    attached = adapting.tune(adapting.load(model), model, ("ptec", {"tokens": TOKENS, **params}))
    run_setup(attached, lambda text: ids, lambda: iter(()))
    return only(attached)


def only(attached: Attached) -> torch.Tensor:
    (tensor,) = attached.tensors.values()
    return tensor.detach()


def test_that_the_prompt_and_the_classifier_are_all_that_is_trained(session: Session) -> None:
    head = {name: tensor for name, tensor in session.attached.tensors.items() if name.startswith("head.")}
    assert session.attached.trainable == TOKENS * WIDTH + CLASSES * WIDTH
    assert [tuple(tensor.shape) for tensor in head.values()] == [(CLASSES, WIDTH)]


def test_that_the_classifier_reads_the_last_words_state_behind_the_prompt(session: Session) -> None:
    ids = torch.from_numpy(session.train_rows[0].ids)[None]
    (prompt,) = (tensor for name, tensor in session.attached.tensors.items() if not name.startswith("head."))
    (head,) = (tensor for name, tensor in session.attached.tensors.items() if name.startswith("head."))
    with torch.no_grad():
        answer = session.model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        bare = adapting.load(Path(session.plan.model_path))
        words = bare.get_parameter("model.embed_tokens.weight")[ids]
        states = bare.get_submodule("model")(inputs_embeds=torch.cat([prompt[None], words], dim=1)).last_hidden_state
        assert torch.allclose(answer, states[:, -1] @ head.T, atol=1e-6)


@pytest.mark.parametrize(("rate", "mult", "moves"), [(1e-2, 0.0, "head"), (1e-2, 3.0, "both")])
def test_that_prompt_and_classifier_learn_at_rates_of_their_own(
    model: Path, tmp_path: Path, rate: float, mult: float, moves: str
) -> None:
    data = tiny.make_reviews(tmp_path / "reviews.csv")
    session = opened(
        plans.make_plan(
            model, data, tmp_path / "library", columns={"text": "text", "label": "label"}, use="ptec",
            params={"tokens": TOKENS, "prompt_rate": mult}, task="classification", head=CLASSES * WIDTH,
        ),
        tmp_path,
    )  # fmt: skip
    before = {name: tensor.detach().clone() for name, tensor in session.attached.tensors.items()}
    optimizer = build_optimizer(session.attached, learning_rate=rate, weight_decay=0.0)
    set_rate(optimizer, rate)
    loss(session).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    moved = {name: (tensor - before[name]).abs().max().item() for name, tensor in session.attached.tensors.items()}
    head = next(value for name, value in moved.items() if name.startswith("head."))
    prompt = next(value for name, value in moved.items() if not name.startswith("head."))
    assert head == pytest.approx(rate, rel=1e-2)
    assert prompt == pytest.approx(rate * mult, rel=1e-2)
    assert moves == ("both" if prompt else "head")


def test_that_the_loss_does_not_care_about_the_order_of_the_classes(session: Session) -> None:
    batch = collate(session.train_rows[:8], pad_id=0, device="cpu", packed=False, classes=True)
    session.model.eval()
    with torch.inference_mode():
        before = loss_sum(batch_logits(session.model, batch), batch)
        (head,) = (tensor for name, tensor in session.attached.tensors.items() if name.startswith("head."))
        head.copy_(head.flip(0))
        swapped = torch.nn.functional.cross_entropy(
            batch_logits(session.model, batch), 1 - batch.targets, reduction="sum"
        )
    assert torch.allclose(before, swapped)


def test_that_the_prompt_starts_from_the_label_names_repeated_to_its_length(model: Path) -> None:
    table = adapting.load(model).get_parameter("model.embed_tokens.weight")
    prompt = started(model, [9, 11, 13, 15])
    assert torch.equal(prompt, table[[9, 11, 13, 15, 9, 11]])


def test_that_of_too_many_names_a_part_is_drawn_in_their_order(model: Path) -> None:
    table = adapting.load(model).get_parameter("model.embed_tokens.weight")
    prompt = started(model, list(range(4, 44)))
    chosen = [int((table == row).all(1).nonzero()) for row in prompt]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == TOKENS
    assert set(chosen) <= set(range(4, 44))
    assert chosen != list(range(4, 4 + TOKENS))


def test_that_without_names_the_prompt_starts_from_small_random_numbers(model: Path) -> None:
    prompt = started(model, [], labels="")
    assert 0.01 < prompt.std().item() < 0.03
