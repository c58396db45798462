"""A folded run as JSON and back, so that the next events are folded onto it."""

import json
from dataclasses import asdict
from typing import Any

from studio.core.events import Event, decode, encode
from studio.core.state import MetricSummary, RunSnapshot

_PLAIN = ("state", "reason", "phase", "progress", "step", "started", "updated")
_SINGLE = ("device", "error", "measured")
_LISTS = ("evals", "samples", "notices")


def dump_snapshot(snapshot: RunSnapshot) -> str:
    """The snapshot as one JSON text; its events keep the form they have in the log."""
    body: dict[str, Any] = {name: getattr(snapshot, name) for name in _PLAIN}
    body["metrics"] = {name: asdict(summary) for name, summary in snapshot.metrics.items()}
    for name in _SINGLE:
        event = getattr(snapshot, name)
        body[name] = None if event is None else encode(event)
    for name in _LISTS:
        body[name] = [encode(event) for event in getattr(snapshot, name)]
    body["checkpoints"] = [encode(event) for event in snapshot.checkpoints.values()]
    body["artifacts"] = [encode(event) for event in snapshot.artifacts.values()]
    return json.dumps(body)


def load_snapshot(text: str) -> RunSnapshot:
    """The snapshot that ``dump_snapshot`` wrote; an empty object gives a fresh one."""
    body = json.loads(text)
    snapshot = RunSnapshot(**{name: body[name] for name in _PLAIN if name in body})
    snapshot.metrics = {name: MetricSummary(**summary) for name, summary in body.get("metrics", {}).items()}
    for name in _SINGLE:
        line = body.get(name)
        setattr(snapshot, name, None if line is None else decode(line))
    for name in _LISTS:
        setattr(snapshot, name, _events(body.get(name, [])))
    snapshot.checkpoints = {event.step: event for event in _events(body.get("checkpoints", []))}
    snapshot.artifacts = {event.name: event for event in _events(body.get("artifacts", []))}
    return snapshot


def _events(lines: list[str]) -> list[Any]:
    events: list[Event | None] = [decode(line) for line in lines]
    return [event for event in events if event is not None]
