"""Starting a run: plan it, write its folder, launch its worker."""

import os
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from studio.core.errors import InvalidSpecError, UserError
from studio.core.paths import home
from studio.core.spec import RunSpec
from studio.core.state import RESUMABLE
from studio.rundir.launch import launch
from studio.rundir.layout import RunFolder, create_run_folder
from studio.rundir.lock import is_alive
from studio.service import settings
from studio.service.plan_run import plan_run
from studio.service.run_energy import rates_of
from studio.service.simulation import warm_simulator

_FOR_SPEED = {
    # Threads that spin while they wait make training several times slower as soon as anything else, the window for
    # one, wants a core; that never spin, slower by a third where nothing does. So they spin for a while.
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "10000",
    # The heap keeps what a step frees, in huge pages: else each step has the system clear the same memory again.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=68719476736"
    ":glibc.malloc.mmap_threshold=33554432",
    # Each shape of a product gets kernels of its own, and rows of mixed lengths have no end of shapes: with these many
    # kept instead of 1,024, six steps in bf16 take 8 % less memory and no more time.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
}


def start_run(raw: RunSpec | Mapping[str, Any], *, parent: str | None = None) -> str:
    """Plan the spec, create the run and start its worker, which outlives this process; the run's id.

    Raises:
        InvalidSpecError: with every problem of the spec.
        MachineError: the folder cannot be written or the interpreter does not start.
    """
    folder = create_run(raw, parent=parent)
    _launch(folder)
    return folder.id


def create_run(raw: RunSpec | Mapping[str, Any], *, parent: str | None = None) -> RunFolder:
    """The run folder of a planned spec, its worker not started yet.

    Planned as it was shown: simulated where simulations are going on, else by the formula, which takes no time.
    """
    planned = plan_run(raw, simulator=warm_simulator())
    if planned.plan is None or planned.estimate is None:
        raise InvalidSpecError([problem for problem in planned.problems if problem.severity == "error"])
    spec = (
        raw.model_dump(mode="json") if isinstance(raw, RunSpec) else RunSpec.model_validate(raw).model_dump(mode="json")
    )
    run_id = new_run_id(spec["name"])
    return create_run_folder(
        home().runs,
        run_id,
        {
            "spec.json": spec,
            "plan.json": planned.plan.model_dump(mode="json"),
            "estimate.json": planned.estimate.model_dump(mode="json"),
            "energy.json": rates_of(settings.load()).model_dump(),
            "labels.json": {"created": time.time(), "parent": parent},
        },
    )


def resume_run(run_id: str) -> None:
    """Continue a paused, stopped, failed or crashed run from its last checkpoint; start one that never did.

    Raises:
        UserError: the run is at work or already completed.
    """
    from studio.service import runs

    folder = run_folder(run_id)
    state = runs.show_run(run_id)["state"]
    if is_alive(folder.path) or state not in (*RESUMABLE, "draft"):
        raise UserError(f"the run is {state}", where=run_id, hint=f"only {', '.join(sorted(RESUMABLE))} runs resume")
    _launch(folder)


def run_folder(run_id: str) -> RunFolder:
    """The folder of an existing run."""
    folder = RunFolder(home().runs / run_id)
    if not folder.plan.is_file():
        raise UserError(f"there is no run {run_id!r}", hint="`pet-studio runs list` names them")
    return folder


def new_run_id(name: str) -> str:
    """Sortable by time, readable, unique: ``20261124-063100-boolq-lora-4f2a``; safe as a folder name."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-") or "run"
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"


def worker_settings() -> dict[str, str]:
    """The environment of every process that trains."""
    return {
        "PET_STUDIO_HOME": str(home().root),
        "HF_HUB_OFFLINE": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order in which the devices were listed
        "TOKENIZERS_PARALLELISM": "false",
        **{name: value for name, value in _FOR_SPEED.items() if name not in os.environ},
    }


def _launch(folder: RunFolder) -> None:
    launch(folder, environment=worker_settings())
