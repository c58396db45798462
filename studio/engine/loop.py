"""The training loop: one function to read from top to bottom, with its steps spelled out below it."""

import math
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from studio.api import Step
from studio.core import events as ev
from studio.core.errors import UserError
from studio.engine.batches import Row, collate, micro_batches, step_rows
from studio.engine.checkpoint import folder_bytes, load_tensors, prune_checkpoints, save_checkpoint
from studio.engine.clock import Clock
from studio.engine.evaluate import evaluate
from studio.engine.generate import write_samples
from studio.engine.optimizer import set_rate
from studio.engine.plugins import after_step, extra_loss, method_metrics
from studio.engine.recovery import with_fewer_rows
from studio.engine.schedule import rate_factor
from studio.engine.session import Session, put_tensors
from studio.engine.tasks import batch_loss
from studio.engine.telemetry import Telemetry
from studio.rundir.control import ControlReader

SAMPLES = 3
Ending = Literal["completed", "stopped", "paused"]


class TrainingDivergedError(UserError):
    """The loss or a gradient is no longer a number."""

    exit_code = 1


def train(session: Session, telemetry: Telemetry, control: ControlReader, checkpoints: Path, clock: Clock) -> Ending:
    """Train until the plan's last step, a request or an early stop; the model ends with the best tensors.

    Raises:
        TrainingDivergedError: the loss or a gradient is not finite.
        MachineError: out of memory or disk.
    """
    plan, progress = session.plan, session.progress
    requests = _Requests(control)
    session.model.train()
    if progress.step == 0 and session.eval_rows:
        _evaluate(session, telemetry)
    telemetry.phase("training")
    while progress.step < plan.steps:
        started = time.monotonic()
        values = _fitting_step(session, telemetry)
        progress.step += 1
        values["seconds"] = time.monotonic() - started
        progress.train_seconds += values["seconds"]
        progress.tokens += int(values["tokens"])
        telemetry.step(progress.step, values)

        last = progress.step == plan.steps
        improved = False
        if session.eval_rows and (last or progress.step % plan.eval_every == 0):
            improved = _evaluate(session, telemetry)
            telemetry.phase("training")
        clock.end_epochs()
        ending = requests.poll()
        if ending is None and (used_up := clock.over_limit()):
            telemetry.notice(f"stopped: the run has used {used_up}", "warning")
            ending = "stopped"
        if last or improved or ending or requests.save_now or progress.step % plan.save_every == 0:
            requests.save_now = False
            clock.update()
            save(session, telemetry, checkpoints)
        if ending and not last:
            return ending
        if plan.early_stopping is not None and progress.evals_since_best >= plan.early_stopping:
            telemetry.notice(f"stopped early: no better eval loss in the last {plan.early_stopping} evals")
            break
    _restore_best(session, telemetry, checkpoints)
    return "completed"


def _fitting_step(session: Session, telemetry: Telemetry) -> dict[str, float]:
    """One optimizer step, with so many rows at once as the memory takes; they are remembered."""

    def attempt(rows: int) -> dict[str, float]:
        session.progress.micro_batch = rows
        return _step(session)

    return with_fewer_rows(session, telemetry, session.micro_batch, attempt)


def _step(session: Session) -> dict[str, float]:
    """The next optimizer step of the run; its metrics."""
    plan, step = session.plan, session.progress.step
    chosen = step_rows(len(session.train_rows), plan.effective_batch, step, plan.seed)
    return step_over(session, [session.train_rows[i] for i in chosen])


def step_over(session: Session, rows: Sequence[Row]) -> dict[str, float]:
    """One optimizer step over the rows of an effective batch; its metrics."""
    plan, step = session.plan, session.progress.step
    rate = plan.learning_rate * rate_factor(plan.schedule, step, warmup=plan.warmup_steps, steps=plan.steps)
    set_rate(session.optimizer, rate)
    classes = plan.task == "classification"
    terms = len(rows) if classes else sum(int(row.trained[1:].sum()) for row in rows)
    total, tokens = 0.0, 0
    during = session.watch.during
    for some in micro_batches(rows, session.micro_batch, session.room):
        with during("forward pass", session.micro_batch):
            batch = collate(
                some, pad_id=session.encoder.pad_id, device=plan.device, packed=plan.packing, classes=classes
            )  # fmt: skip
            loss = batch_loss(session.model, batch) / terms
        with during("backward pass", session.micro_batch):
            session.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.item()
        tokens += batch.tokens
    now = Step(step + 1, plan.steps, rate)
    with during("backward pass"):
        if (added := extra_loss(session.attached, now)) is not None:
            session.scaler.scale(added).backward()  # type: ignore[no-untyped-call]
            total += added.item()
    with during("optimizer step"):
        norm = _update(session, now, total)
    own = method_metrics(session.attached)
    return {"loss": total, "learning_rate": rate, "grad_norm": norm, "tokens": tokens, **own}


def _update(session: Session, now: Step, loss: float) -> float:
    """Change the trained tensors by their gradients; the gradients' norm."""
    session.scaler.unscale_(session.optimizer)
    norm = _clip(session)
    _check_finite(session, loss, norm)
    session.scaler.step(session.optimizer)
    scale = session.scaler.get_scale()
    session.scaler.update()
    if session.scaler.get_scale() >= scale:  # else the gradients overflowed and the step was skipped
        after_step(session.attached, now)
    session.optimizer.zero_grad(set_to_none=True)
    return norm


def _clip(session: Session) -> float:
    tensors = list(session.attached.tensors.values())
    bound = session.plan.clip_norm if session.plan.clip_norm is not None else math.inf
    return float(torch.nn.utils.clip_grad_norm_(tensors, bound))


def _check_finite(session: Session, loss: float, norm: float) -> None:
    """Stop with an explanation; fp16 steps whose scaled gradients overflow are the scaler's to skip."""
    if math.isfinite(loss) and (math.isfinite(norm) or session.scaler.is_enabled()):
        return
    step = session.progress.step + 1
    broken = [name for name, tensor in session.attached.tensors.items() if _not_finite(tensor.grad)]
    what = "the loss" if not math.isfinite(loss) else f"the gradient of {broken[0] if broken else 'a tensor'}"
    raise TrainingDivergedError(
        f"{what} is not a finite number at step {step} (loss {loss:g}, gradient norm {norm:g})",
        where=f"step {step}",
        hint="lower the learning rate, clip gradients, or train in bf16 or fp32; earlier checkpoints are whole",
    )


def _not_finite(gradient: Tensor | None) -> bool:
    return gradient is not None and not bool(torch.isfinite(gradient).all())


def _evaluate(session: Session, telemetry: Telemetry) -> bool:
    """Evaluate and report; whether this is the best eval loss so far."""
    plan, progress = session.plan, session.progress
    report = telemetry.phase("evaluating the untuned model" if progress.step == 0 else "evaluating")
    started = time.monotonic()
    metrics = with_fewer_rows(session, telemetry, session.eval_batch, lambda rows: _evaluated(session, rows, report))
    telemetry.emit(ev.Evaluated(time.time(), progress.step, metrics, time.monotonic() - started))
    if plan.task == "sft":
        at_once = min(SAMPLES, session.eval_batch)
        samples = with_fewer_rows(session, telemetry, at_once, lambda rows: _sampled(session, rows))
        telemetry.emit(ev.Sampled(time.time(), progress.step, samples))
    if progress.step == 0:
        return False
    if progress.best_loss is None or metrics["loss"] < progress.best_loss:
        progress.best_loss, progress.best_step, progress.evals_since_best = metrics["loss"], progress.step, 0
        return True
    progress.evals_since_best += 1
    return False


def _sampled(session: Session, rows: int) -> list[dict[str, str]]:
    """What the model writes for the first held-out rows, so many at once."""
    with session.watch.during("writing samples", rows):
        return write_samples(
            session.model, session.eval_rows[:SAMPLES], session.encoder, device=session.plan.device, at_once=rows,
            cache=not session.attached.recomputes,
        )  # fmt: skip


def _evaluated(session: Session, rows: int, report: Callable[[float], None]) -> dict[str, float]:
    """Held-out metrics, so many rows at once, which are remembered."""
    session.progress.eval_batch = rows
    with session.watch.during("evaluation", rows):
        return evaluate(
            session.model, session.eval_rows, session.plan, pad_id=session.encoder.pad_id, choices=session.choices,
            at_once=rows, progress=report,
        )  # fmt: skip


def save(session: Session, telemetry: Telemetry, checkpoints: Path) -> None:
    """Write a checkpoint of the session as it stands, and delete those no longer kept."""
    progress = session.progress
    # The log reaches at least as far as the checkpoint: a worker killed right after it would otherwise go on
    # from here and leave a hole in the curve.
    telemetry.flush()
    with session.watch.during("saving"):
        path = save_checkpoint(
            checkpoints,
            progress.step,
            tensors=session.attached.saved(state=True),
            optimizer={"optimizer": session.optimizer.state_dict(), "scaler": session.scaler.state_dict()},
            state={"progress": asdict(progress)},
        )
    removed = prune_checkpoints(checkpoints, keep=session.plan.keep_checkpoints, best=progress.best_step)
    telemetry.emit(
        ev.CheckpointSaved(
            time.time(), progress.step, f"checkpoints/{progress.step}", folder_bytes(path),
            best=progress.best_step == progress.step, removed=removed,
        ),
        durable=True,
    )  # fmt: skip


def _restore_best(session: Session, telemetry: Telemetry, checkpoints: Path) -> None:
    best = session.progress.best_step
    if best is None or best == session.progress.step:
        return
    put_tensors(session.attached, load_tensors(checkpoints / str(best)), checkpoints / str(best))
    telemetry.notice(f"the result is the checkpoint of step {best}, which has the lowest eval loss")


class _Requests:
    """Control-file requests and SIGTERM, seen at step boundaries."""

    def __init__(self, control: ControlReader) -> None:
        self._control = control
        self._terminated = False
        self.save_now = False
        signal.signal(signal.SIGTERM, self._terminate)

    def poll(self) -> Ending | None:
        """How the run shall end now, if somebody asked."""
        ending: Ending | None = "stopped" if self._terminated else None
        for request in self._control.poll():
            match request:
                case "stop":
                    ending = "stopped"
                case "pause":
                    ending = "paused"
                case "save_now":
                    self.save_now = True
        return ending

    def _terminate(self, number: int, frame: object) -> None:
        self._terminated = True
