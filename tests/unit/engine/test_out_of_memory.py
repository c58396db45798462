"""Memory that runs out in a session: told with figures, and worked around without changing what is learnt."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core import events as ev
from studio.core.errors import PluginError
from studio.core.plan import Plan
from studio.engine.clock import Clock
from studio.engine.generate import write_samples
from studio.engine.loop import train
from studio.engine.memory import OutOfMemory, Watch, held_bytes
from studio.engine.session import Session, open_session
from studio.engine.telemetry import Telemetry
from studio.rundir.control import ControlReader, send
from studio.rundir.log import read_all_events
from tests.helpers import plans, tiny
from tests.helpers.metering import no_meter

ROWS = 8
QUESTIONS = {"prompt": "{question} ?", "completion": "{answer}"}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"))


class Runner:
    """Trains plans in folders of their own and reads what they logged."""

    def __init__(self, model: Path, root: Path, open_telemetry: Callable[[Path], Telemetry]) -> None:
        self.model, self.root, self.open_telemetry = model, root, open_telemetry

    def plan(self, **overrides: Any) -> Plan:
        data = tiny.make_questions(self.root / "questions.jsonl")
        library = self.root / f"library{len(list(self.root.iterdir()))}"
        fields = {
            "columns": QUESTIONS, "micro_batch": ROWS, "accumulation": 1, "params": {"rank": 4, "dropout": 0.1},
            **overrides,
        }  # fmt: skip
        return plans.make_plan(self.model, data, library, **fields)

    def open(self, plan: Plan, name: str) -> Session:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        self.telemetry = self.open_telemetry(folder)
        return open_session(plan, folder / "checkpoints", self.telemetry)

    def train(self, session: Session, name: str) -> str:
        folder = self.root / name
        control = ControlReader(folder / "control.jsonl")
        if (folder / "stop").exists():
            send(folder / "control.jsonl", "stop")
        clock = Clock(session, self.telemetry, no_meter)
        try:
            return train(session, self.telemetry, control, folder / "checkpoints", clock)
        finally:
            self.telemetry.flush()

    def run(self, name: str, *, limit: int | None = None, **overrides: Any) -> list[float]:
        session = self.open(self.plan(**overrides), name)
        if limit is not None:
            fail_above(session, limit)
        self.train(session, name)
        return self.losses(name)

    def events(self, name: str) -> list[ev.Event]:
        return list(read_all_events(self.root / name / "events.jsonl"))

    def losses(self, name: str) -> list[float]:
        return [x for event in self.events(name) if isinstance(event, ev.Metrics) for x in event.values["loss"]]

    def warnings(self, name: str) -> list[str]:
        return [e.message for e in self.events(name) if isinstance(e, ev.Noticed) and e.level == "warning"]


@pytest.fixture
def runner(llama: Path, tmp_path: Path, open_telemetry: Callable[[Path], Telemetry]) -> Runner:
    return Runner(llama, tmp_path, open_telemetry)


def fail_above(
    session: Session, limit: int, *, where: str = "forward", from_step: int = 0, training: bool = True
) -> None:
    """Let every pass of more than ``limit`` rows run out of memory in its last layer, its work half done."""
    model: Any = session.model

    def check(rows: int) -> None:
        if session.model.training == training and rows > limit and session.progress.step >= from_step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")

    def in_forward(_: Any, args: Any, kwargs: Any) -> None:
        check(len(args[0] if args else kwargs["hidden_states"]))

    def in_backward(_: Any, gradients: Any, __: Any) -> None:
        check(len(gradients[0]))

    if where == "forward":
        model.model.layers[-1].register_forward_pre_hook(in_forward, with_kwargs=True)
    else:
        model.model.layers[-1].register_full_backward_hook(in_backward)


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("use", ["lora", "full"])
def test_that_halving_gives_bit_for_bit_the_run_planned_with_the_smaller_micro_batch(
    runner: Runner, where: str, use: str
) -> None:
    """The random numbers of dropout included: the failed attempts leave no trace."""
    plan: dict[str, Any] = {"use": use, **({} if use == "lora" else {"params": {}})}
    planned = runner.run("planned", micro_batch=2, accumulation=4, **plan)
    session = runner.open(runner.plan(**plan), "halved")
    fail_above(session, 2, where=where)
    assert runner.train(session, "halved") == "completed"
    assert runner.losses("halved") == planned
    assert session.micro_batch == 2
    first, second = runner.warnings("halved")
    assert f"{where} pass after step 0 with 8 at once: 2.00 GiB more asked for" in first
    assert "4 instead of 8 rows" in first
    assert "2 instead of 4 rows" in second


def test_that_steps_before_the_shortage_are_those_of_the_plan(runner: Runner) -> None:
    whole = runner.run("whole", params={"rank": 4})
    session = runner.open(runner.plan(params={"rank": 4}), "halved")
    fail_above(session, 1, from_step=4)
    runner.train(session, "halved")
    halved = runner.losses("halved")
    assert halved[:4] == whole[:4]
    assert halved == pytest.approx(whole, abs=2e-5)
    assert session.micro_batch == 1


def test_that_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit_after_halving(runner: Runner) -> None:
    plan = runner.plan()
    session = runner.open(plan, "whole")
    fail_above(session, 2)
    runner.train(session, "whole")
    session = runner.open(plan, "parts")
    fail_above(session, 2)
    (runner.root / "parts" / "stop").touch()
    runner.train(session, "parts")
    (runner.root / "parts" / "stop").unlink()
    torch.manual_seed(99)
    session = runner.open(plan, "parts")
    assert (session.progress.step, session.micro_batch) == (1, 2)
    runner.train(session, "parts")  # nothing fails now: the size is remembered, not found again
    assert runner.losses("parts") == runner.losses("whole")


def test_that_one_row_too_much_fails_with_what_was_asked_for_and_held(runner: Runner) -> None:
    session = runner.open(runner.plan(), "run")
    fail_above(session, 0, from_step=2)
    with pytest.raises(OutOfMemory, match="forward pass after step 2 with 1 at once") as caught:
        runner.train(session, "run")
    details = caught.value.details
    assert (details["phase"], details["step"], details["rows"]) == ("forward pass", 2, 1)
    assert details["asked_bytes"] == 2 * 2**30
    trained = sum(tensor.numel() * 4 for tensor in session.attached.tensors.values())
    assert details["held"]["trainable"] == trained
    assert details["held"]["optimizer"] >= 2 * trained
    assert details["held"]["gradients"] == 0
    assert sum(details["held"].values()) == details["held_bytes"] > 0
    assert len(runner.warnings("run")) == 3
    assert len(runner.losses("run")) == 2


def test_that_a_plan_may_rather_stop(runner: Runner) -> None:
    session = runner.open(runner.plan(on_oom="stop"), "run")
    fail_above(session, 2)
    with pytest.raises(OutOfMemory, match="8 at once"):
        runner.train(session, "run")
    assert runner.warnings("run") == []


def test_that_an_optimizer_step_is_never_done_twice(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    session = runner.open(runner.plan(), "run")
    steps: list[int] = []

    def step(*_: Any, **__: Any) -> None:
        steps.append(session.progress.step)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(session.optimizer, "step", step)
    with pytest.raises(OutOfMemory, match="optimizer step after step 0") as caught:
        runner.train(session, "run")
    assert steps == [0]
    trained = sum(tensor.numel() * 4 for tensor in session.attached.tensors.values())
    assert caught.value.details["held"]["gradients"] == trained
    assert caught.value.details["asked_bytes"] is None


def test_that_an_evaluation_goes_on_with_fewer_rows_and_the_same_metrics(runner: Runner) -> None:
    whole = runner.open(runner.plan(), "whole")
    runner.train(whole, "whole")
    session = runner.open(runner.plan(), "halved")
    fail_above(session, 3, training=False)
    runner.train(session, "halved")
    assert (session.eval_batch, session.micro_batch) == (2, ROWS)
    assert runner.losses("halved") == runner.losses("whole")
    for one, other in zip(evals(runner, "halved"), evals(runner, "whole"), strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    assert all("evaluation" in warning for warning in runner.warnings("halved"))
    assert runner.open(session.plan, "halved").eval_batch == 2


def test_that_samples_are_written_fewer_at_once_where_memory_is_short(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.run("whole")

    def short(*args: Any, at_once: int, **options: Any) -> list[dict[str, str]]:
        if at_once > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
        return write_samples(*args, at_once=at_once, **options)

    monkeypatch.setattr("studio.engine.loop.write_samples", short)
    runner.run("halved")
    sampled = [[e.samples for e in runner.events(name) if isinstance(e, ev.Sampled)] for name in ("halved", "whole")]
    assert sampled[0] == sampled[1]
    assert all(sampled[0])
    assert all("writing samples" in warning for warning in runner.warnings("halved"))
    assert runner.losses("halved") == runner.losses("whole")


def evals(runner: Runner, name: str) -> list[dict[str, float]]:
    return [event.metrics for event in runner.events(name) if isinstance(event, ev.Evaluated)]


def test_that_nothing_of_a_failed_attempt_stays_in_memory(runner: Runner) -> None:
    """Its activations would take the room that the smaller attempt needs."""
    session = runner.open(runner.plan(), "run")
    failed: list[weakref.ref[torch.Tensor]] = []
    left: list[bool] = []

    def note(_: Any, __: Any, output: torch.Tensor) -> None:
        if session.model.training and len(output) == ROWS:
            failed.append(weakref.ref(output))
        elif session.model.training and not left:
            left.extend(ref() is not None for ref in failed)

    model: Any = session.model
    model.model.layers[0].mlp.register_forward_hook(note)
    fail_above(session, 4)
    runner.train(session, "run")
    assert left == [False]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError("Unable to allocate 2.00 GiB for an array"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 2147483648 bytes."),
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_that_every_allocator_is_understood_even_behind_a_plugins_error(error: Exception, hidden: bool) -> None:
    def run_out() -> None:
        try:
            raise error
        except Exception as cause:
            if not hidden:
                raise
            raise PluginError("lora", "fails") from cause

    with pytest.raises(OutOfMemory) as caught, Watch("cpu").during("evaluation"):
        run_out()
    assert caught.value.details["asked_bytes"] == 2**31


def test_that_a_real_allocation_beyond_the_machine_is_told_with_its_size() -> None:
    with pytest.raises(OutOfMemory, match="loading the model") as caught, Watch("cpu").during("loading the model"):
        torch.empty(2**58)
    assert caught.value.details["asked_bytes"] == 2**60
    assert caught.value.details["total_bytes"] > caught.value.details["free_bytes"] > 0


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("x")])
def test_that_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, Watch("cpu").during("forward pass"):
        raise error
    assert caught.value is error


def test_that_trained_base_tensors_count_with_their_copies(runner: Runner) -> None:
    session = runner.open(runner.plan(use="full", params={}, precision="bf16"), "run")
    held = held_bytes(session.model, session.attached, session.optimizer)
    assert held["trainable"] == session.attached.trainable * 4
    assert held["weights"] >= session.attached.trainable * 2


def test_that_packed_rows_that_ran_out_are_tried_again_with_nothing_left_of_the_failed_pass(runner: Runner) -> None:
    session = runner.open(runner.plan(packing=True), "run")
    attention: Any = session.model.model.layers[-1].self_attn  # type: ignore[union-attr]
    backbone: Any = session.model.model
    left: list[weakref.ref[torch.Tensor]] = []
    seen = []

    def fail_once(_: Any, args: tuple[torch.Tensor, ...]) -> None:
        if not left and session.model.training:
            left.append(weakref.ref(args[0]))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")

    def look(_: Any, __: Any) -> None:
        seen.append(bool(left) and left[0]() is not None)

    attention.v_proj.register_forward_pre_hook(fail_once)  # computed already, together with the query's map
    backbone.register_forward_pre_hook(look, prepend=True)
    assert runner.train(session, "run") == "completed"
    assert len(seen) > 1
    assert not any(seen)
    (warning,) = runner.warnings("run")
    assert "forward pass after step 0 with 8 at once" in warning
    assert "4 instead of 8 rows" in warning
