"""One run whole, several runs side by side, and their curves as CSV."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from studio.catalog import queries
from studio.catalog.connection import opened
from studio.catalog.queries import StoredRun
from studio.catalog.rows import RunRow
from studio.core.errors import MachineError, UserError
from studio.core.paths import home
from studio.core.state import summary_json
from studio.rundir.launch import tail
from studio.rundir.layout import RunFolder
from studio.service.run_energy import EnergyFigures, energy_figures, read_epochs, read_rates
from studio.service.run_index import refresh_one

MEASURED = (
    "peak_bytes", "allocated_bytes", "seconds", "seconds_per_step", "tokens_per_second",
    "watt_hours", "energy_method", "unmetered_s", "shared",
)  # fmt: skip
MEASURED_LAST = ("completed", "stopped", "paused")


@dataclass(frozen=True)
class Difference:
    """A dotted spec or plan path and its value in each of the compared runs; None where it is not set."""

    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class MetricLine:
    """A metric and its last, min, max and step in each of the compared runs; None where a run has none."""

    name: str
    values: tuple[dict[str, Any] | None, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side: only what differs in their configuration, and every metric."""

    runs: tuple[RunRow, ...]
    config: tuple[Difference, ...]
    metrics: tuple[MetricLine, ...]


def show_run(run_id: str) -> dict[str, Any]:
    """Everything about one run as plain data."""
    refresh_one(run_id)
    run = _load(run_id)
    row, snapshot = run.row, run.snapshot
    folder = RunFolder(home().runs / run_id)
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "reason": snapshot.reason,
        "phase": snapshot.phase,
        "progress": snapshot.progress,
        "step": row.step,
        "steps": row.steps,
        "created": row.created,
        "started": row.started,
        "updated": row.updated,
        "ended": row.ended,
        "spec": run.spec,
        "plan": run.plan,
        "estimate": run.estimate,
        "measured": _measured(run, folder),
        "metrics": summary_json(snapshot.metrics),
        "evals": [_body(evaluated) for evaluated in snapshot.evals],
        "samples": [_body(sampled) for sampled in snapshot.samples],
        "checkpoints": [_body(saved) for saved in snapshot.checkpoints.values()],
        "artifacts": [_body(artifact) for artifact in snapshot.artifacts.values()],
        "notices": [_body(notice) for notice in snapshot.notices],
        "parent": row.parent,
        "tags": list(row.tags),
        "notes": row.notes,
        "star": row.star,
        "trashed": row.trashed is not None,
        "folder": str(folder.path),
        "error": _error(run, folder),
    }


def compare(run_ids: Sequence[str]) -> Comparison:
    """Configuration differences and metrics of several runs."""
    runs = [_load(run_id) for run_id in run_ids]
    configs = [dict(_flat(run)) for run in runs]
    fields = dict.fromkeys(field for config in configs for field in config)
    rows = [Difference(field, tuple(config.get(field) for config in configs)) for field in fields]
    metrics = [summary_json(run.snapshot.metrics) for run in runs]
    names = sorted({name for metric in metrics for name in metric})
    return Comparison(
        runs=tuple(run.row for run in runs),
        config=tuple(row for row in rows if any(value != row.values[0] for value in row.values)),
        metrics=tuple(MetricLine(name, tuple(metric.get(name) for metric in metrics)) for name in names),
    )


def export_curves(run_id: str, path: Path) -> int:
    """Write all curves of a run as CSV, one line per step and one column per metric; the number of lines.

    Raises:
        MachineError: the file cannot be written.
    """
    with opened(home().catalog):
        names = queries.metric_names(run_id)
        curves = {name: queries.read_curve(run_id, name) for name in names}
    points = {name: dict(zip(steps.tolist(), values.tolist(), strict=True)) for name, (steps, values) in curves.items()}
    steps = sorted({step for column in points.values() for step in column})
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *names])
            writer.writerows([f"{step:g}", *(points[name].get(step, "") for name in names)] for step in steps)
        partial.replace(path)
    except OSError as error:
        raise MachineError(f"cannot be written: {error.strerror or error}", where=str(path)) from error
    return len(steps)


def _load(run_id: str) -> StoredRun:
    with opened(home().catalog):
        run = queries.load_run(run_id)
    if run is None:
        raise UserError(f"there is no run {run_id!r}", hint="see `pet-studio runs list`")
    return run


def _measured(run: StoredRun, folder: RunFolder) -> dict[str, Any]:
    """What the run used, as far as its worker has told."""
    event = run.snapshot.measured
    if event is None:
        return dict.fromkeys(MEASURED) | _body(EnergyFigures())
    with opened(home().catalog):
        (_, tokens), (_, seconds) = (queries.read_curve(run.row.id, name) for name in ("tokens", "seconds"))
    settled = run.row.state in MEASURED_LAST  # else there were steps since it measured
    figures = energy_figures(
        event, read_rates(folder), read_epochs(folder.events), plan=run.plan or {},
        tokens=float(tokens.sum()) if settled else 0, steps=run.row.step if settled else 0,
        step_s=median(seconds.tolist()) if len(seconds) else None,
    )  # fmt: skip
    return {name: getattr(event, name) for name in MEASURED} | _body(figures)


def _error(run: StoredRun, folder: RunFolder) -> dict[str, Any] | None:
    """Why the run ended early, with the last words of its worker; None if it did not."""
    failed = run.snapshot.error
    if failed is not None:
        return {**_body(failed), "stderr": tail(folder.stderr)}
    if run.row.state != "crashed":
        return None
    return {
        "error": "Crashed",
        "message": run.row.error,
        "hint": "it can be resumed from its last checkpoint" if run.snapshot.checkpoints else "start it again",
        "where": str(folder.stderr),
        "traceback": "",
        "stderr": tail(folder.stderr),
        "device": None if run.snapshot.device is None else _body(run.snapshot.device),
    }


def _body(event: Any) -> dict[str, Any]:
    return asdict(event)


def _flat(run: StoredRun) -> Iterator[tuple[str, Any]]:
    """Spec entries, then the plan's resolved values, each under its dotted path."""
    yield from _leaves(run.spec, "")
    plan = {key: value for key, value in (run.plan or {}).items() if key not in ("autos", "placements")}
    for place, placement in enumerate((run.plan or {}).get("placements", [])):
        yield f"plan.placements.{place}.sites", len(placement.get("sites", []))
        yield from _leaves(placement.get("params"), f"plan.placements.{place}.params.")
    yield from _leaves(plan, "plan.")


def _leaves(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}{key}.")
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{prefix}{number}.")
    else:
        yield prefix.rstrip("."), value
