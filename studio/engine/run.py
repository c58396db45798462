"""One worker session of a run, from its folder to its result."""

import gc
import time

from studio.core import events as ev
from studio.core.plan import Plan
from studio.core.state import RunState
from studio.devices import EnergyMeter
from studio.engine.checkpoint import folder_bytes
from studio.engine.clock import Clock
from studio.engine.export import export_adapter
from studio.engine.loop import train
from studio.engine.session import Session, open_session
from studio.engine.telemetry import Telemetry
from studio.rundir.control import ControlReader
from studio.rundir.layout import RunFolder, read_json


def run(folder: RunFolder, telemetry: Telemetry, meter: EnergyMeter) -> RunState:
    """Train the run in ``folder`` (or continue it) and write its adapter; the state it ends in.

    ``meter`` is that of the plan's device, begun right before this call.
    """
    started = time.monotonic()
    plan = Plan.model_validate(read_json(folder.plan))
    control = ControlReader(folder.control)
    session = open_session(plan, folder.checkpoints, telemetry)
    gc.freeze()  # what is loaded stays: collections need not look at it
    gc.set_threshold(700)  # Python's own, whatever served the start: garbage of a step may hold tensors
    clock = Clock(session, telemetry, meter.total, started=started)
    telemetry.emit(ev.Resumed(time.time(), session.progress.step))
    telemetry.state("running")
    ending = train(session, telemetry, control, folder.checkpoints, clock)
    meter.settle()
    clock.update()
    if ending != "paused":
        clock.cut_epoch()
    telemetry.emit(_measured(session))
    if ending != "paused":
        telemetry.phase("saving the adapter")
        with session.watch.during("saving"):
            path = export_adapter(session.attached, plan, folder.artifacts / "adapter")
        telemetry.emit(
            ev.ArtifactWritten(time.time(), "adapter", "artifacts/adapter", folder_bytes(path)), durable=True
        )
    return ending


def _measured(session: Session) -> ev.Measured:
    progress = session.progress
    seconds = max(progress.train_seconds, 1e-9)
    return ev.Measured(
        time.time(),
        peak_bytes=progress.peak_bytes,
        seconds=progress.seconds,
        seconds_per_step=progress.train_seconds / max(progress.step, 1),
        tokens_per_second=progress.tokens / seconds,
        watt_hours=None if progress.joules is None else progress.joules / 3600,
        energy_method=progress.energy_method,
        unmetered_s=progress.unmetered_s,
        shared=progress.shared,
        allocated_bytes=progress.allocated_bytes,
        halved=session.micro_batch < session.plan.micro_batch,
    )
