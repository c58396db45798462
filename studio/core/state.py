"""The states of a run, who may follow whom, and the fold of its events into one snapshot."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from studio.core.events import (
    ArtifactWritten,
    CheckpointSaved,
    DeviceRead,
    Evaluated,
    Event,
    Failed,
    Measured,
    Metrics,
    Noticed,
    PhaseChanged,
    Resumed,
    Sampled,
    StateChanged,
)

RunState = Literal[
    "draft", "queued", "starting", "running", "stopping", "paused", "completed", "stopped", "failed", "crashed"
]
STATES: tuple[RunState, ...] = get_args(RunState)
ACTIVE: frozenset[RunState] = frozenset({"starting", "running", "stopping"})
TERMINAL: frozenset[RunState] = frozenset({"completed", "stopped", "failed", "crashed"})
RESUMABLE: frozenset[RunState] = frozenset({"paused", "stopped", "failed", "crashed"})

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    "draft": frozenset({"queued", "starting"}),
    "queued": frozenset({"draft", "starting"}),
    "starting": frozenset({"running", "stopping", "failed", "crashed"}),
    "running": frozenset({"stopping", "paused", "completed", "stopped", "failed", "crashed"}),
    "stopping": frozenset({"paused", "completed", "stopped", "failed", "crashed"}),
    "paused": frozenset({"starting"}),
    "completed": frozenset(),
    "stopped": frozenset({"starting"}),
    "failed": frozenset({"starting"}),
    "crashed": frozenset({"starting"}),
}


def can_follow(before: RunState, after: RunState) -> bool:
    """Whether a run in state ``before`` may enter ``after``."""
    return after in TRANSITIONS[before]


@dataclass
class MetricSummary:
    """Last, lowest and highest finite value of one metric, and the step of the last."""

    last: float = math.nan
    min: float = math.inf
    max: float = -math.inf
    step: int = 0

    def add(self, step: int, value: float) -> None:
        self.last, self.step = value, step
        if math.isfinite(value):
            self.min, self.max = min(self.min, value), max(self.max, value)


@dataclass
class RunSnapshot:
    """A run as its events so far describe it; ``apply`` folds one more event in."""

    state: RunState = "draft"
    reason: str = ""
    phase: str = ""
    progress: float | None = None
    step: int = 0
    started: float | None = None
    updated: float | None = None
    metrics: dict[str, MetricSummary] = field(default_factory=dict)
    evals: list[Evaluated] = field(default_factory=list)
    samples: list[Sampled] = field(default_factory=list)
    checkpoints: dict[int, CheckpointSaved] = field(default_factory=dict)
    artifacts: dict[str, ArtifactWritten] = field(default_factory=dict)
    notices: list[Noticed] = field(default_factory=list)
    device: DeviceRead | None = None
    error: Failed | None = None
    measured: Measured | None = None

    def apply(self, event: Event) -> None:  # noqa: PLR0912 - one case per event kind is the clearest form
        """Fold one event in; kinds that do not concern the snapshot pass by."""
        self.updated = event.time
        match event:
            case StateChanged(state=state):
                if state in STATES:
                    self.state = state
                    self.reason = event.reason
                if state == "starting":
                    self.error = None
                if state == "running" and self.started is None:
                    self.started = event.time
            case PhaseChanged():
                self.phase, self.progress = event.phase, event.progress
            case Metrics():
                self._add_metrics(event)
            case Evaluated():
                self.evals.append(event)
                for name, value in event.metrics.items():
                    self.metrics.setdefault(f"eval_{name}", MetricSummary()).add(event.step, value)
            case Sampled():
                self.samples.append(event)
            case CheckpointSaved():
                self.checkpoints[event.step] = event
                for step in event.removed:
                    self.checkpoints.pop(step, None)
            case Resumed():
                self.step = event.step
                self.evals = [e for e in self.evals if e.step <= event.step]
                self.samples = [s for s in self.samples if s.step <= event.step]
            case ArtifactWritten():
                self.artifacts[event.name] = event
            case Noticed():
                self.notices.append(event)
            case DeviceRead():
                self.device = event
            case Failed():
                self.error = event
            case Measured():
                self.measured = event

    def _add_metrics(self, event: Metrics) -> None:
        if not event.step:
            return
        self.step = event.step[-1]
        for name, values in event.values.items():
            summary = self.metrics.setdefault(name, MetricSummary())
            for step, value in zip(event.step, values, strict=False):
                summary.add(step, value)

    def best_eval(self, metric: str = "loss") -> Evaluated | None:
        """The eval with the lowest value of ``metric``; None before the first."""
        with_metric = [e for e in self.evals if metric in e.metrics]
        return min(with_metric, key=lambda e: e.metrics[metric], default=None)


def fold(events: Iterable[Event]) -> RunSnapshot:
    """The snapshot after all ``events``."""
    snapshot = RunSnapshot()
    for event in events:
        snapshot.apply(event)
    return snapshot


def summary_json(metrics: dict[str, MetricSummary]) -> dict[str, dict[str, Any]]:
    """Metric summaries as the ``metrics`` field of ``runs show``; values that never were finite are null."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        name: {"last": finite(m.last), "min": finite(m.min), "max": finite(m.max), "step": m.step}
        for name, m in metrics.items()
    }
