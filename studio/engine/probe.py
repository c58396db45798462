"""What a plan really takes: steps on its longest rows, ordinary steps, an evaluation, a checkpoint."""

import os
import time
from collections.abc import Callable, Sequence
from heapq import nlargest
from pathlib import Path
from statistics import median

from studio.core.facts import DeviceSample
from studio.core.plan import Plan
from studio.core.progress import Progress
from studio.devices import Energy, EnergyMeter, Sampler, sample
from studio.engine.batches import Row, step_rows
from studio.engine.evaluate import evaluate
from studio.engine.loop import save, step_over
from studio.engine.session import Session, open_session
from studio.engine.telemetry import Telemetry, peak_bytes
from studio.estimate.probed import ProbeResult
from studio.rundir.layout import RunFolder, read_json
from studio.rundir.log import EventLog

LEAST_METERED_S = 2.0  # a shorter stretch tells more of the meter's rhythm than of the load
Timed = tuple[float, float]  # seconds and tokens of a step


class _Peak:
    """The most memory so far, and the phase that reached it, but for the last percent: a heap keeps creeping up."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.bytes = 0
        self.phase = ""

    def note(self, phase: str) -> None:
        now = peak_bytes(self._device)
        if now > 1.01 * self.bytes:
            self.phase = phase
        self.bytes = max(self.bytes, now)


def probe(folder: RunFolder, steps: int, report: Progress) -> ProbeResult:
    """Measure the plan in ``folder`` with ``steps`` steps on the longest rows, at least 2, and as many ordinary ones.

    Raises:
        OutOfMemory: the plan does not fit.
        UserError, PluginError: it does not run.
    """
    plan = Plan.model_validate(read_json(folder.plan))
    # with fewer rows at once it would measure another plan; and the schedule has to last for all the steps
    plan = plan.model_copy(update={"on_oom": "stop", "steps": max(plan.steps, 2 * steps)})
    with EventLog(folder.events) as log:
        telemetry = Telemetry(log, plan.device)
        report("loading the model", None)
        session = open_session(plan, folder.checkpoints, telemetry)
        peak = _Peak(plan.device)
        peak.note("loading the model")
        session.watch.ended = peak.note
        return _measure(session, telemetry, peak, steps, folder.checkpoints, report)


def _measure(
    session: Session, telemetry: Telemetry, peak: _Peak, steps: int, checkpoints: Path, report: Progress
) -> ProbeResult:  # fmt: skip
    plan = session.plan

    def take(rows: Sequence[Row]) -> Timed:
        report("measuring steps", session.progress.step / (2 * steps))
        started = time.monotonic()
        tokens = step_over(session, rows)["tokens"]
        session.progress.step += 1
        return time.monotonic() - started, tokens

    session.model.train()
    longest = _longest(session.train_rows, plan.micro_batch)
    repeated = longest * plan.accumulation
    take(repeated)  # the first step chooses kernels and lays out the memory
    slow, ordinary, energy = _metered(
        plan.device, telemetry,
        lambda: [take(repeated) for _ in range(steps - 1)],
        lambda: [take(_rows_of(session, step)) for step in range(steps)],
    )  # fmt: skip
    if session.eval_rows:
        report("evaluating", None)
        _evaluate(session)
    report("saving", None)
    save(session, telemetry, checkpoints)
    telemetry.device(sample(plan.device, os.getpid()))  # what the driver counts besides the allocator's peak
    return ProbeResult(
        device=plan.device_name,
        made=time.time(),
        steps=steps,
        micro_batch=plan.micro_batch,
        longest_row=len(longest[-1].ids),
        peak_bytes=max(telemetry.peak(), peak.bytes),
        peak_phase=peak.phase,
        seconds_per_step=median(seconds for seconds, _ in ordinary),
        tokens_per_step=median(tokens for _, tokens in ordinary),
        seconds_per_longest_step=median(seconds for seconds, _ in slow),
        watts=_watts(energy),
        shared=energy.shared,
    )


def _longest(rows: Sequence[Row], count: int) -> list[Row]:
    """The ``count`` longest rows, the longest last; over again where there are not so many."""
    by_length = nlargest(count, rows, key=lambda row: len(row.ids))[::-1]
    return [by_length[i % len(by_length)] for i in range(-count, 0)]


def _rows_of(session: Session, step: int) -> list[Row]:
    plan, rows = session.plan, session.train_rows
    return [rows[i] for i in step_rows(len(rows), plan.effective_batch, step, plan.seed)]


def _evaluate(session: Session) -> None:
    at_once = session.eval_batch
    rows = _longest(session.eval_rows, min(at_once, len(session.eval_rows)))
    with session.watch.during("evaluation", at_once):
        evaluate(session.model, rows, session.plan, pad_id=session.encoder.pad_id, choices=session.choices)


def _metered(
    device: str, telemetry: Telemetry, *parts: Callable[[], list[Timed]]
) -> tuple[list[Timed], list[Timed], Energy]:  # fmt: skip
    """The parts' results, one after the other, and the energy they took together."""
    meter = EnergyMeter(device, os.getpid())

    def hear(taken: DeviceSample) -> None:
        meter.add(taken)
        telemetry.device(taken)

    with Sampler(device, os.getpid(), 1.0, hear):
        first, second = (part() for part in parts)
        meter.settle()
        return first, second, meter.total()


def _watts(energy: Energy) -> float | None:
    metered_s = energy.seconds - energy.unmetered_s
    if energy.joules is None or metered_s < LEAST_METERED_S:
        return None
    return energy.joules / metered_s
