"""Reading the catalog: pages of runs sorted and filtered in SQL, one run whole, curves."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peewee import JOIN

from studio.catalog import curves
from studio.catalog.models import Document, MetricSummary, Run, Tag, execute, tuples
from studio.catalog.rows import Measurement, RunFilter, RunRow
from studio.catalog.search import matching
from studio.catalog.snapshots import load_snapshot
from studio.core.errors import UserError
from studio.core.problems import did_you_mean
from studio.core.state import RunSnapshot

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StoredRun:
    """All that the catalog knows of one run."""

    row: RunRow
    spec: dict[str, Any]
    plan: dict[str, Any] | None
    estimate: dict[str, Any] | None
    snapshot: RunSnapshot


_COLUMNS = [name for name in RunRow._fields if name != "tags"]
_STAR = _COLUMNS.index("star")
SORTABLE = (*_COLUMNS[1:], "duration", "progress")


def list_rows(wanted: RunFilter, sort: str, limit: int | None, offset: int) -> list[RunRow]:
    """One page. ``sort`` is a column of ``RunRow``, "duration", "progress" or "metric:NAME"; "-" first: descending."""
    query = Run.select(*(getattr(Run, name) for name in _COLUMNS))
    query = _sorted(_where(query, wanted), sort)
    if limit is not None or offset:
        query = query.limit(-1 if limit is None else limit).offset(offset)
    return _rows(query)


def count_rows(wanted: RunFilter) -> int:
    """How many runs the filter lets through."""
    return int(_where(Run.select(Run.key), wanted).count())


def find_rows(text: str) -> list[RunRow]:
    """Runs with that id, else of that name, else whose id begins so; the newest first."""
    query = Run.select(*(getattr(Run, name) for name in _COLUMNS)).order_by(Run.created.desc())
    for condition in (Run.id == text, Run.name == text, Run.id.startswith(text)):
        rows = _rows(query.where(condition))
        if rows:
            return rows
    return []


def load_run(run_id: str) -> StoredRun | None:
    """One run with its documents and folded events."""
    rows = find_rows(run_id)
    if len(rows) != 1 or rows[0].id != run_id:
        return None
    columns = (Document.spec, Document.plan, Document.estimate, Document.snapshot)
    spec, plan, estimate, snapshot = tuples(Document.select(*columns).where(Document.run == rows[0].key))[0]
    return StoredRun(rows[0], json.loads(spec), json.loads(plan), json.loads(estimate), load_snapshot(snapshot))


def read_curve(run_id: str, metric: str) -> "tuple[NDArray[Any], NDArray[Any]]":
    """Steps and values of one metric of one run as float64 arrays; empty if there are none."""
    return curves.read_curve(_key(run_id), metric)


def metric_names(run_id: str) -> list[str]:
    """The metrics of one run that have a curve, sorted."""
    return curves.metric_names(_key(run_id))


def tag_counts() -> dict[str, int]:
    """Every tag in use with its number of runs, alphabetically."""
    counts: dict[str, int] = {}
    for (tag,) in tuples(Tag.select(Tag.tag).order_by(Tag.tag)):
        counts[tag] = counts.get(tag, 0) + 1
    return counts


def list_measurements(limit: int) -> list[Measurement]:
    """The newest finished runs that have both a prediction and a measurement, trashed ones included."""
    return [Measurement(*row) for row in tuples(_finished(limit))]


def list_forecasts(limit: int) -> list[tuple[Measurement, dict[str, Any]]]:
    """The runs of ``list_measurements``, each with the estimate that was shown before it began."""
    query = _finished(limit).select_extend(Document.estimate).join(Document)
    return [(Measurement(*row), json.loads(estimate)) for *row, estimate in tuples(query)]


def _finished(limit: int) -> Any:
    query = Run.select(*(getattr(Run, name) for name in Measurement.__dataclass_fields__))
    known = Run.predicted_bytes.is_null(False) & Run.peak_bytes.is_null(False) & Run.seconds_per_step.is_null(False)
    return query.where(Run.state.in_(("completed", "stopped")) & known).order_by(Run.created.desc()).limit(limit)


def _key(run_id: str) -> int:
    key = Run.select(Run.key).where(Run.id == run_id).scalar()
    return -1 if key is None else int(key)


def _where(query: Any, wanted: RunFilter) -> Any:
    query = query.where(Run.trashed.is_null(not wanted.trashed))
    if wanted.states:
        query = query.where(Run.state.in_(wanted.states))
    for name in ("model", "data", "method"):
        if getattr(wanted, name):
            query = query.where(getattr(Run, name) == getattr(wanted, name))
    if wanted.starred:
        query = query.where(Run.star)
    for tag in wanted.tags:
        query = query.where(Run.key.in_(Tag.select(Tag.run).where(Tag.tag == tag)))
    found = matching(wanted.text)
    return query if found is None else query.where(found)


def _sorted(query: Any, sort: str) -> Any:
    name = sort.removeprefix("-")
    if name.startswith("metric:"):
        joined = (MetricSummary.run == Run.key) & (MetricSummary.name == name.removeprefix("metric:"))
        query = query.join(MetricSummary, JOIN.LEFT_OUTER, on=joined)
        column: Any = MetricSummary.last
    else:
        column = _sort_column(name)
    first = column.desc(nulls="LAST") if sort.startswith("-") else column.asc(nulls="LAST")
    return query.order_by(first, Run.created.desc(), Run.key.desc())


def _sort_column(name: str) -> Any:
    if name == "duration":
        return Run.updated - Run.started
    if name == "progress":
        return (Run.step * 1.0) / Run.steps
    if name not in SORTABLE:
        raise UserError(f"cannot sort runs by {name!r}", where="sort", hint=did_you_mean(name, SORTABLE))
    column = getattr(Run, name)
    return column.collate("NOCASE") if name in ("name", "model", "data", "method") else column


def _rows(query: Any) -> list[RunRow]:
    """As SQLite gives them, for lists of thousands: the query builder converts cell by cell."""
    statement, values = query.sql()
    rows = execute(statement, *values)
    tags: dict[int, list[str]] = {}
    keys = json.dumps([row[0] for row in rows])
    for key, tag in execute("SELECT run_id, tag FROM tag WHERE run_id IN (SELECT value FROM json_each(?))", keys):
        tags.setdefault(key, []).append(tag)
    return [
        RunRow._make((*row[:_STAR], bool(row[_STAR]), *row[_STAR + 1 :], tuple(sorted(tags.get(row[0], ())))))
        for row in rows
    ]
