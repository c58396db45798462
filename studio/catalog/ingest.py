"""Folding a run's new events into its row, its summaries and its curves, exactly once."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.catalog.curves import CurveBuffer, summarise
from studio.catalog.models import DATABASE, CurveChunk, Document, MetricSummary, Run, tuples
from studio.catalog.search import index_run
from studio.catalog.snapshots import dump_snapshot, load_snapshot
from studio.core.events import Evaluated, Event, Metrics, Resumed
from studio.core.state import ACTIVE, TERMINAL, RunSnapshot

DIED = "the worker ended without a word"


@dataclass(frozen=True)
class LogPosition:
    """How far a run's log has been read, and how long it was when last looked at, in bytes."""

    state: str
    offset: int
    log_bytes: int


def positions(run_id: str | None = None) -> dict[str, LogPosition]:
    """The log position of every run, or of one, by run id."""
    query = Run.select(Run.id, Run.state, Run.log_offset, Run.log_bytes)
    rows = tuples(query if run_id is None else query.where(Run.id == run_id))
    return {found: LogPosition(*rest) for found, *rest in rows}


def ingest(
    run_id: str,
    events: Iterable[Event],
    *,
    start: int,
    end: int,
    log_bytes: int,
    died: bool,
    versions: Mapping[str, str],
) -> bool:
    """Fold in the events between the byte offsets; False if another process has already read past ``start``.

    ``died``: no worker holds the run, so that a state in which one should means it crashed. ``versions``: what the
    worker said of ``torch`` and ``driver`` so far.
    """
    with DATABASE.atomic("IMMEDIATE"):
        run = Run.select(Run.key, Run.log_offset, Run.error).where(Run.id == run_id).namedtuples().first()
        if run is None or run.log_offset != start:
            return False
        snapshot = load_snapshot(Document.select(Document.snapshot).where(Document.run == run.key).scalar())
        buffer = CurveBuffer()
        for event in events:
            snapshot.apply(event)
            _collect(buffer, event)
        _store(run.key, snapshot, buffer)
        columns = {**_columns(snapshot, died=died), **versions}
        Run.update(log_offset=end, log_bytes=log_bytes, **columns).where(Run.key == run.key).execute()
        if columns["error"] != run.error:
            index_run(run.key)
    return True


def reset(run_id: str) -> None:
    """Forget what was ingested: the log was replaced by another one."""
    with DATABASE.atomic("IMMEDIATE"):
        key = Run.select(Run.key).where(Run.id == run_id).scalar()
        for table in (CurveChunk, MetricSummary):
            table.delete().where(table.run == key).execute()
        Document.update(snapshot="{}").where(Document.run == key).execute()
        Run.update(log_offset=0, log_bytes=0, state="draft").where(Run.key == key).execute()


def _collect(buffer: CurveBuffer, event: Event) -> None:
    match event:
        case Metrics(step=steps, values=values):
            for name, column in values.items():
                buffer.add(name, steps, column)
        case Evaluated(step=step, metrics=metrics):
            for name, value in metrics.items():
                buffer.add(f"eval_{name}", [step], [value])
        case Resumed(step=step):
            buffer.cut_after(step)


def _store(key: int, snapshot: RunSnapshot, buffer: CurveBuffer) -> None:
    was_cut = buffer.cut < math.inf
    buffer.write(key)
    if was_cut:
        snapshot.metrics = summarise(key)
        MetricSummary.delete().where(MetricSummary.run == key).execute()
    rows = [
        (key, name, _finite(s.last), _finite(s.min), _finite(s.max), s.step) for name, s in snapshot.metrics.items()
    ]
    fields = [getattr(MetricSummary, name) for name in ("run", "name", "last", "min", "max", "step")]
    if rows:
        MetricSummary.insert_many(rows, fields=fields).on_conflict_replace().execute()
    Document.update(snapshot=dump_snapshot(snapshot)).where(Document.run == key).execute()


def _columns(snapshot: RunSnapshot, *, died: bool) -> dict[str, Any]:
    crashed = died and (snapshot.state in ACTIVE or snapshot.state in ("draft", "queued"))
    state = "crashed" if crashed else snapshot.state
    losses = [evaluated.metrics["loss"] for evaluated in snapshot.evals if "loss" in evaluated.metrics]
    measured = snapshot.measured
    return {
        "state": state,
        "step": snapshot.step,
        "started": snapshot.started,
        "updated": snapshot.updated,
        "ended": snapshot.updated if state in TERMINAL else None,
        "eval_before": _finite(losses[0]) if losses else None,
        "eval_after": _finite(losses[-1]) if losses else None,
        "seconds": measured.seconds if measured else None,
        "seconds_per_step": measured.seconds_per_step if measured else None,
        "tokens_per_second": measured.tokens_per_second if measured else None,
        "watt_hours": measured.watt_hours if measured else None,
        "peak_bytes": measured.peak_bytes if measured else None,
        "unmetered_s": measured.unmetered_s if measured else 0.0,
        "shared": measured.shared if measured else None,
        "halved": bool(measured and measured.halved),
        "error": snapshot.error.message if snapshot.error else DIED if crashed else "",
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
