"""Probing: a plan's memory, time and power, measured by a few real steps."""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from studio.core.errors import InvalidSpecError, UserError
from studio.core.paths import home
from studio.core.plan import Plan
from studio.core.progress import CancelCheck, Progress
from studio.core.spec import RunSpec
from studio.estimate.probed import ProbeResult
from studio.models.child import run_child
from studio.rundir.layout import RunFolder, read_json, write_json
from studio.rundir.lock import RunLock, is_alive
from studio.service.plan_run import plan_run
from studio.service.probe_evidence import keep_probe, probes
from studio.service.simulation import warm_simulator
from studio.service.start_run import worker_settings

STEPS = 3
WORKING = ".working-"


def run_probe(
    raw: RunSpec | Mapping[str, Any],
    *,
    steps: int = STEPS,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> ProbeResult:
    """Plan the spec, take a few real steps of it in a process of its own, and keep what they took.

    Nothing of it stays but the result: no run, no folder, no process, also when it is cancelled.

    Args:
        steps: steps on the data's longest rows, of which the first only warms up, and as many ordinary ones.

    Raises:
        InvalidSpecError: with every problem of the spec.
        UserError: a run or another probe is at work on the device.
        MachineError: the plan does not fit the device's memory.
        Cancelled: ``cancelled`` said so.
    """
    planned = plan_run(raw, simulator=warm_simulator())
    plan = planned.plan
    if plan is None:
        raise InvalidSpecError([problem for problem in planned.problems if problem.severity == "error"])
    _refuse_busy(plan.device)
    with _folder(plan) as folder:
        taken = run_child(
            "studio.worker.probe", [str(folder.path), str(max(steps, 2))],
            environment=worker_settings(), progress=progress, cancelled=cancelled,
        )  # fmt: skip
    result = ProbeResult.model_validate(taken)
    keep_probe(plan, result)
    return result


def _refuse_busy(device: str) -> None:
    """A probe beside something that computes would measure both."""
    for folder in map(RunFolder, home().runs.glob("*")):
        if is_alive(folder.path) and folder.plan.is_file() and read_json(folder.plan)["device"] == device:
            raise UserError(
                f"the run {folder.id} is at work on {device}", where="train.device",
                hint=f"a probe beside it would measure both: wait for it, or pet-studio runs pause {folder.id}",
            )  # fmt: skip
    if is_alive(probes()):
        raise UserError("another probe is at work", hint="wait for it")


@contextmanager
def _folder(plan: Plan) -> Iterator[RunFolder]:
    """A folder for one probe at a time, gone afterwards; what a killed one left is cleared away."""
    root = probes()
    root.mkdir(parents=True, exist_ok=True)
    with RunLock(RunFolder(root).lock):
        for leftover in root.glob(f"{WORKING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = RunFolder(root / f"{WORKING}{secrets.token_hex(4)}")
        folder.path.mkdir()
        try:
            write_json(folder.plan, plan.model_dump(mode="json"))
            yield folder
        finally:
            shutil.rmtree(folder.path, ignore_errors=True)
