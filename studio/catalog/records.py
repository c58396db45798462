"""What the run folders say about a run, put into the catalog: spec, plan, labels."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from studio.catalog.models import DATABASE, Document, Run, Tag, tuples
from studio.catalog.rows import Labels, RunRecord
from studio.catalog.search import index_run


def put_runs(records: Iterable[RunRecord]) -> None:
    """Add runs that the catalog does not know, or bring their unchanging part up to date."""
    with DATABASE.atomic("IMMEDIATE"):
        for record in records:
            _put(record)


def put_labels(run_id: str, labels: Labels, spec_name: str) -> None:
    """Replace name, notes, tags, star and trash mark; without a name of its own the run has the spec's."""
    with DATABASE.atomic("IMMEDIATE"):
        key = Run.select(Run.key).where(Run.id == run_id).scalar()
        if key is not None:
            Run.update(**_label_columns(labels, spec_name)).where(Run.key == key).execute()
            _put_tags(key, labels.tags)
            index_run(key)


def remove_runs(run_ids: Iterable[str]) -> None:
    """Forget runs with everything the catalog has about them."""
    with DATABASE.atomic("IMMEDIATE"):
        keys = [key for (key,) in tuples(Run.select(Run.key).where(Run.id.in_(list(run_ids))))]
        for key in keys:
            index_run(key, gone=True)
        Run.delete().where(Run.key.in_(keys)).execute()


def _put(record: RunRecord) -> None:
    known = Run.select(Run.key).where(Run.id == record.id).scalar()
    columns = _columns(record)
    if known is None:
        key = Run.insert(id=record.id, state="draft", **columns).execute()
        Document.insert(run=key, **_documents(record)).execute()
    else:
        key = known
        Run.update(**columns).where(Run.key == key).execute()
        Document.update(**_documents(record)).where(Document.run == key).execute()
    _put_tags(key, record.labels.tags)
    index_run(key)


def _columns(record: RunRecord) -> dict[str, Any]:
    spec, plan = record.spec, record.plan or {}
    placements = _at(spec, "method", "placements") or []
    return {
        "task": str(spec.get("task", "sft")),
        "model": _without_scheme(_at(spec, "model", "source")),
        "data": _without_scheme(_at(spec, "data", "source")),
        "method": " + ".join(str(_at(placement, "use")) for placement in placements),
        "model_fingerprint": str(plan.get("model_fingerprint", "")),
        "device": str(plan.get("device_name") or plan.get("device", "")),
        "precision": str(plan.get("precision", "")),
        "trainable": plan.get("trainable"),
        "steps": plan.get("steps"),
        "created": record.created,
        "predicted_bytes": _at(record.estimate, "uncorrected", "peak_bytes"),
        "predicted_seconds_per_step": _at(record.estimate, "uncorrected", "seconds_per_step"),
        "predicted_watts": _at(record.estimate, "uncorrected", "watts"),
        "basis": str(_at(record.estimate, "uncorrected", "basis") or "formula"),
        "parent": record.labels.parent,
        **_label_columns(record.labels, str(spec.get("name") or record.id)),
    }


def _label_columns(labels: Labels, spec_name: str) -> dict[str, Any]:
    return {"name": labels.name or spec_name, "notes": labels.notes, "star": labels.star, "trashed": labels.trashed}


def _put_tags(key: int, tags: Iterable[str]) -> None:
    Tag.delete().where(Tag.run == key).execute()
    rows = [(key, tag) for tag in dict.fromkeys(tags)]
    if rows:
        Tag.insert_many(rows, fields=[Tag.run, Tag.tag]).execute()


def _documents(record: RunRecord) -> dict[str, str]:
    parts = {"spec": record.spec, "plan": record.plan, "estimate": record.estimate}
    return {name: json.dumps(part, ensure_ascii=False) for name, part in parts.items()}


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _without_scheme(source: Any) -> str:
    text = str(source or "")
    return text.partition(":")[2] or text
