"""Sessions of a plan opened and trained in a folder, as a worker does, with their losses."""

from pathlib import Path

from studio.core.plan import Plan
from studio.engine.clock import Clock
from studio.engine.loop import train
from studio.engine.session import Session, open_session
from studio.engine.telemetry import Telemetry
from studio.rundir.control import ControlReader
from studio.rundir.log import EventLog, read_all_events
from tests.helpers.metering import no_meter


def opened(plan: Plan, folder: Path) -> Session:
    folder.mkdir(exist_ok=True)
    with EventLog(folder / "events.jsonl") as log:
        return open_session(plan, folder / "checkpoints", Telemetry(log, "cpu"))


def trained(session: Session, folder: Path) -> list[float]:
    with EventLog(folder / "events.jsonl") as log:
        telemetry = Telemetry(log, "cpu")
        control = ControlReader(folder / "control.jsonl")
        train(session, telemetry, control, folder / "checkpoints", Clock(session, telemetry, no_meter))
        telemetry.flush()
    return [
        loss
        for event in read_all_events(folder / "events.jsonl")
        if type(event).__name__ == "Metrics"
        for loss in event.values["loss"]  # type: ignore[attr-defined]
    ]
