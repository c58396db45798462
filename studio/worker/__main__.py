"""``python -m studio.worker RUN_DIR``: train one run; the boundary that turns every failure into an event."""

import gc
import os
import platform
import sys
import time
import traceback
from pathlib import Path

from studio import __version__
from studio.core import events as ev
from studio.core.errors import MachineError, StudioError
from studio.core.facts import DeviceSample
from studio.rundir.layout import RunFolder, read_json, write_json
from studio.rundir.lock import RunLock
from studio.rundir.log import EventLog


def main(argv: list[str]) -> int:
    """Exit code 0 if the run ended as asked, 1 if it failed."""
    folder = RunFolder(Path(argv[0]).absolute())
    with RunLock(folder.lock), EventLog(folder.events) as log:
        log.append(ev.StateChanged(time.time(), "starting"), durable=True)
        try:
            _train(folder, log)
        except Exception as error:  # noqa: BLE001 - the process boundary: every failure becomes an event
            failed = failure(error, folder.estimate)
            log.append(failed, durable=True)
            log.append(ev.StateChanged(time.time(), "failed", failed.message), durable=True)
            traceback.print_exc()
            return 1
    return 0


def _train(folder: RunFolder, log: EventLog) -> None:
    log.append(ev.PhaseChanged(time.time(), "starting PyTorch"))
    gc.set_threshold(50_000)  # starting makes many objects and hardly a cycle
    import torch

    from studio.devices import EnergyMeter, Sampler, list_devices
    from studio.engine.run import run
    from studio.engine.telemetry import Telemetry

    device = read_json(folder.plan)["device"]
    driver = next((each.driver for each in list_devices() if each.id == device), "")
    versions = {**_versions(torch.__version__), "driver": driver}
    write_json(folder.worker, {**read_json(folder.worker), **versions})
    telemetry = Telemetry(log, device)
    meter = EnergyMeter(device, os.getpid())

    def take(sample: DeviceSample) -> None:
        meter.add(sample)
        telemetry.device(sample)

    sampler = Sampler(device, os.getpid(), 1.0, take)
    sampler.start()
    try:
        state = run(folder, telemetry, meter)
    finally:
        sampler.stop()
        telemetry.flush()
    telemetry.state(state)


def failure(error: Exception, estimate: Path) -> ev.Failed:
    """The event that explains an exception; only the studio's own faults carry a traceback.

    What was held when memory ran out gets the parts that the run's ``estimate`` had foreseen beside it.
    """
    if isinstance(error, StudioError):
        details = error.details if isinstance(error, MachineError) else {}
        if "held" in details and estimate.is_file():
            memory = read_json(estimate)["memory"]
            details = {**details, "foreseen": {"total_bytes": memory["total_bytes"], "parts": memory["parts"]}}
        return ev.Failed(time.time(), type(error).__name__, error.message, error.hint, error.where, details=details)
    if isinstance(error, MemoryError):
        return ev.Failed(time.time(), "OutOfMemory", "out of memory", hint="close other programs, then resume the run")
    return ev.Failed(
        time.time(), type(error).__name__, str(error) or type(error).__name__,
        hint="this is a fault of the studio or of a plugin; the traceback is in the log",
        traceback="".join(traceback.format_exception(error)),
    )  # fmt: skip


def _versions(torch_version: str) -> dict[str, str]:
    import transformers

    return {
        "studio": __version__, "python": platform.python_version(), "torch": torch_version,
        "transformers": transformers.__version__,
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
