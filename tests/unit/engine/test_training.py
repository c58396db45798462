"""The engine on tiny real models: exact sequences, exact resume, equal ways to the same step."""

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.events import Evaluated, Metrics, Noticed
from studio.core.plan import Plan
from studio.devices import Energy
from studio.engine.checkpoint import save_checkpoint
from studio.engine.clock import Clock
from studio.engine.loop import TrainingDivergedError, train
from studio.engine.session import Session, open_session
from studio.engine.telemetry import Telemetry
from studio.rundir.control import ControlReader, send
from studio.rundir.log import read_all_events
from tests.helpers import plans, tiny
from tests.helpers.metering import no_meter

QUESTIONS = {"prompt": "{question} ?", "completion": "{answer}"}
HEAD = 32 * 2 + 2  # classifier of the tiny BERT


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Runner:
    """Runs a plan in this process, in a folder of its own."""

    def __init__(self, root: Path, open_telemetry: Callable[[Path], Telemetry]) -> None:
        self.root = root
        self.open_telemetry = open_telemetry

    def open(self, plan: Plan, name: str = "run") -> Session:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        self.telemetry = self.open_telemetry(folder)
        return open_session(plan, folder / "checkpoints", self.telemetry)

    def train(self, session: Session, name: str = "run") -> str:
        folder = self.root / name
        control = ControlReader(folder / "control.jsonl")
        clock = Clock(session, self.telemetry, no_meter)
        ending = train(session, self.telemetry, control, folder / "checkpoints", clock)
        self.telemetry.flush()
        return ending

    def losses(self, name: str = "run") -> list[float]:
        events = read_all_events(self.root / name / "events.jsonl")
        return [loss for event in events if isinstance(event, Metrics) for loss in event.values["loss"]]

    def run(self, plan: Plan, name: str = "run") -> list[float]:
        self.train(self.open(plan, name), name)
        return self.losses(name)


@pytest.fixture
def runner(tmp_path: Path, open_telemetry: Callable[[Path], Telemetry]) -> Runner:
    return Runner(tmp_path, open_telemetry)


def sft(model: Path, root: Path, **overrides: Any) -> Plan:
    data = tiny.make_questions(root / "questions.jsonl")
    library = root / f"library{len(list(root.iterdir()))}"
    return plans.make_plan(model, data, library, columns=QUESTIONS, **overrides)


def classes(model: Path, root: Path, **overrides: Any) -> Plan:
    data = tiny.make_reviews(root / "reviews.csv")
    library = root / f"library{len(list(root.iterdir()))}"
    columns = {"text": "text", "label": "label"}
    return plans.make_plan(model, data, library, columns=columns, task="classification", head=HEAD, **overrides)


def base_digest(session: Session) -> str:
    own = {id(tensor) for tensor in session.attached.tensors.values()}
    digest = hashlib.sha256()
    for parameter in session.model.parameters():
        if id(parameter) not in own:
            digest.update(parameter.detach().float().numpy().tobytes())
    return digest.hexdigest()


def test_that_the_loss_sequence_of_a_fixed_run_never_changes(llama: Path, runner: Runner) -> None:
    expected = [4.226234, 4.111755, 3.938155, 3.846571, 3.794395, 3.736293, 3.686382, 3.676471]
    assert runner.run(sft(llama, runner.root)) == pytest.approx(expected, abs=2e-5)


def test_that_lora_starts_as_the_base_model_and_leaves_it_untouched(llama: Path, runner: Runner) -> None:
    session = runner.open(sft(llama, runner.root))
    before = base_digest(session)
    runner.train(session)
    assert base_digest(session) == before
    events = list(read_all_events(runner.root / "run" / "events.jsonl"))
    evals = [event for event in events if isinstance(event, Evaluated)]
    assert [event.step for event in evals] == [0, 4, 8]
    assert evals[-1].metrics["loss"] < evals[0].metrics["loss"]
    assert {"perplexity", "token_accuracy", "exact_match", "accuracy", "f1"} <= set(evals[0].metrics)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_that_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(
    llama: Path, runner: Runner, precision: str
) -> None:
    plan = sft(llama, runner.root, precision=precision, params={"rank": 4, "dropout": 0.2}, save_every=3)
    whole = runner.run(plan, "whole")

    session = runner.open(plan, "parts")
    control = ControlReader(runner.root / "parts" / "control.jsonl")
    send(runner.root / "parts" / "control.jsonl", "pause")
    clock = Clock(session, runner.telemetry, no_meter)
    assert train(session, runner.telemetry, control, runner.root / "parts" / "checkpoints", clock) == "paused"
    runner.telemetry.flush()
    torch.manual_seed(99)  # whatever happened in between
    again = runner.open(plan, "parts")
    assert again.resumed
    assert again.progress.step == 1
    runner.train(again, "parts")
    assert runner.losses("parts") == whole


def test_that_the_log_reaches_every_checkpoint_before_it_exists(
    llama: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker killed right after a checkpoint goes on from it, so the steps before it must be in the log."""
    monkeypatch.setattr("studio.engine.telemetry.FLUSH_S", 1e9)
    logged: dict[int, list[float]] = {}

    def save(root: Path, step: int, **content: Any) -> Path:
        logged[step] = runner.losses("run")
        return save_checkpoint(root, step, **content)

    monkeypatch.setattr("studio.engine.loop.save_checkpoint", save)
    runner.run(sft(llama, runner.root, save_every=3))
    assert {step: len(losses) for step, losses in logged.items()} == {3: 3, 4: 4, 6: 6, 8: 8}


@pytest.mark.parametrize(
    "change",
    [{"micro_batch": 8, "accumulation": 1}, {"packing": True}, {"checkpointing": True}],
    ids=["accumulation", "packing", "checkpointing"],
)
def test_that_other_ways_to_the_same_step_give_the_same_losses(
    llama: Path, runner: Runner, change: dict[str, Any]
) -> None:
    plain = runner.run(sft(llama, runner.root), "plain")
    other = runner.run(sft(llama, runner.root, **change), "other")
    assert other == pytest.approx(plain, abs=2e-5)


@pytest.mark.parametrize("use", ["full", "bitfit"])
def test_that_trained_base_tensors_have_fp32_masters_over_a_bf16_base(bert: Path, runner: Runner, use: str) -> None:
    session = runner.open(classes(bert, runner.root, use=use, precision="bf16", steps=20, learning_rate=5e-3))
    assert {tensor.dtype for tensor in session.attached.tensors.values()} == {torch.float32}
    before = {name: tensor.detach().clone() for name, tensor in session.attached.tensors.items()}
    runner.train(session)
    moved = [name for name, tensor in session.attached.tensors.items() if not torch.equal(tensor, before[name])]
    assert len(moved) > 0.9 * len(before)
    losses = runner.losses()
    assert min(losses) < losses[0]


def test_that_full_fine_tuning_keeps_tied_embeddings_tied(llama: Path, runner: Runner) -> None:
    session = runner.open(sft(llama, runner.root, use="full", precision="bf16"))
    runner.train(session)
    model: Any = session.model
    assert torch.equal(model.lm_head.weight.float(), model.model.embed_tokens.weight.float())
    assert sum("embed_tokens" in name or "lm_head" in name for name in session.attached.tensors) == 1


def test_that_a_loss_that_is_no_number_stops_with_an_explanation(llama: Path, runner: Runner) -> None:
    session = runner.open(sft(llama, runner.root, eval_rows=0, train_rows=60))
    with torch.no_grad():
        next(iter(session.attached.tensors.values())).fill_(math.nan)
    with pytest.raises(TrainingDivergedError, match="step 1") as caught:
        runner.train(session)
    assert "learning rate" in caught.value.hint
    assert not list((runner.root / "run").glob("checkpoints/*"))


def test_that_early_stopping_ends_on_the_best_checkpoint(llama: Path, runner: Runner) -> None:
    plan = sft(llama, runner.root, steps=40, learning_rate=3.0, clip_norm=None, eval_every=1, early_stopping=2)
    session = runner.open(plan)
    assert runner.train(session) == "completed"
    assert session.progress.step < 40
    notices = [e.message for e in read_all_events(runner.root / "run" / "events.jsonl") if isinstance(e, Noticed)]
    assert any("stopped early" in notice for notice in notices)
    best = session.progress.best_step
    kept = {int(p.name) for p in (runner.root / "run" / "checkpoints").iterdir()}
    assert best in kept
    assert len(kept) <= 3


def test_that_requests_end_a_run_at_the_next_step_with_a_checkpoint(llama: Path, runner: Runner) -> None:
    session = runner.open(sft(llama, runner.root))
    folder = runner.root / "run"
    control = ControlReader(folder / "control.jsonl")
    send(folder / "control.jsonl", "stop")
    clock = Clock(session, runner.telemetry, no_meter)
    assert train(session, runner.telemetry, control, folder / "checkpoints", clock) == "stopped"
    assert (folder / "checkpoints" / "1" / "state.json").is_file()


@pytest.mark.parametrize("limit", [{"limit_seconds": 1e-6}, {"limit_watt_hours": 1e-6}])
def test_that_a_run_stops_where_its_limit_is_reached(
    llama: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch, limit: dict[str, float]
) -> None:
    monkeypatch.setattr("studio.engine.clock.LIMIT_CHECK_S", 0.0)
    session = runner.open(sft(llama, runner.root, **limit))
    clock = Clock(session, runner.telemetry, lambda: Energy(1.0, "energy counter", 1.0, 0.0, None))
    control = ControlReader(runner.root / "run" / "control.jsonl")
    assert train(session, runner.telemetry, control, runner.root / "run" / "checkpoints", clock) == "stopped"
    assert session.progress.step == 1
    notices = [e.message for e in read_all_events(runner.root / "run" / "events.jsonl") if isinstance(e, Noticed)]
    assert "allowed" in notices[-1]


def test_that_a_damaged_checkpoint_is_named(llama: Path, runner: Runner) -> None:
    from studio.core.errors import UserError

    plan = sft(llama, runner.root)
    runner.run(plan)
    (runner.root / "run" / "checkpoints" / "8" / "trainable.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="damaged"):
        runner.open(plan)
