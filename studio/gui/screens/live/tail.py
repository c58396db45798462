"""Follows one run's log in the background: bounded reads, folded into batches a screen can apply at once."""

import copy
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from studio.core.events import DeviceRead, EpochEnded, Event, Metrics, Resumed
from studio.core.state import ACTIVE, RunSnapshot
from studio.gui.plots.series import Floats
from studio.rundir.layout import RunFolder
from studio.rundir.lock import is_alive
from studio.rundir.log import read_events

BYTES_PER_READ = 256 * 1024
START_GRACE_S = 10
DEVICE_CURVES = ("used_bytes", "process_bytes", "utilization", "power_w", "energy_j", "temperature_c")


@dataclass
class Batch:
    """What one read brought: points per curve, and the run as it stands after them.

    ``cut_after``: a worker resumed there; drop step curves beyond it before adding the points.
    ``epochs``: all that have ended so far. ``more``: the log has further events, read on without waiting.
    """

    snapshot: RunSnapshot
    points: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    cut_after: int | None = None
    epochs: tuple[EpochEnded, ...] = ()
    news: bool = False
    more: bool = False


class RunTail:
    """Reads one run from the beginning on; ``read`` is called by one thread at a time."""

    def __init__(self, folder: RunFolder, bytes_per_read: int = BYTES_PER_READ) -> None:
        self._folder = folder
        self._bytes = bytes_per_read
        self._offset = 0
        self._snapshot = RunSnapshot()
        self._epochs: dict[int, EpochEnded] = {}
        self._origin: float | None = None
        self._shown_state: str = self._snapshot.state

    def read(self) -> Batch:
        """The next part of the log, at most ``bytes_per_read`` of it."""
        events, offset = read_events(self._folder.events, self._offset, limit_bytes=self._bytes)
        gathered = _Gathered()
        for event in events:
            self._snapshot.apply(event)
            self._fold_epoch(event)
            if self._origin is None:
                self._origin = event.time
            gathered.add(event, self._origin)
        more = bool(events) and offset - self._offset >= self._bytes // 2
        self._offset = offset
        snapshot = self._as_seen(quiet=not events)
        news = bool(events) or snapshot.state != self._shown_state
        self._shown_state = snapshot.state
        return Batch(snapshot, gathered.arrays(), gathered.cut_after, tuple(self._epochs.values()), news, more)

    def _fold_epoch(self, event: Event) -> None:
        match event:
            case EpochEnded():
                self._epochs[event.epoch] = event
            case Resumed(step=step):
                self._epochs = {epoch: ended for epoch, ended in self._epochs.items() if ended.step <= step}

    def _as_seen(self, *, quiet: bool) -> RunSnapshot:
        """A copy for the window; a run that claims to be busy while nobody holds its lock has crashed."""
        seen = _copied(self._snapshot)
        if not quiet or seen.state not in ACTIVE | {"draft"} or is_alive(self._folder.path):
            return seen
        if seen.state != "draft" or _age_s(self._folder.plan) > START_GRACE_S:
            return replace(seen, state="crashed", reason="the worker ended without saying why")
        return seen


class _Gathered:
    """Points of a batch in the making."""

    def __init__(self) -> None:
        self.cut_after: int | None = None
        self._steps: dict[str, tuple[list[float], list[float]]] = {}
        self._times: dict[str, tuple[list[float], list[float]]] = {}

    def add(self, event: Event, origin: float) -> None:
        match event:
            case Metrics():
                self._add_metrics(event)
            case DeviceRead():
                self._add_device(event, event.time - origin)
            case Resumed(step=step):
                self._cut(step)

    def arrays(self) -> dict[str, tuple[Floats, Floats]]:
        return {
            name: (np.asarray(x, float), np.asarray(y, float)) for name, (x, y) in (self._steps | self._times).items()
        }

    def _add_metrics(self, event: Metrics) -> None:
        for name, values in event.values.items():
            xs, ys = self._steps.setdefault(name, ([], []))
            count = min(len(event.step), len(values))
            xs.extend(event.step[:count])
            ys.extend(values[:count])
        tokens, seconds = event.values.get("tokens"), event.values.get("seconds")
        if tokens and seconds:
            xs, ys = self._steps.setdefault("tokens_per_second", ([], []))
            speeds = [t / s if s else 0.0 for t, s in zip(tokens, seconds, strict=False)]
            xs.extend(event.step[: len(speeds)])
            ys.extend(speeds[: len(event.step)])

    def _add_device(self, event: DeviceRead, at: float) -> None:
        readings = {name: event.sample.get(name) for name in DEVICE_CURVES}
        for name, value in {**readings, "allocated_bytes": event.allocated_bytes}.items():
            if value is not None:
                xs, ys = self._times.setdefault(name, ([], []))
                xs.append(at)
                ys.append(float(value))

    def _cut(self, step: int) -> None:
        self.cut_after = step if self.cut_after is None else min(self.cut_after, step)
        for xs, ys in self._steps.values():
            while xs and xs[-1] > step:
                xs.pop()
                ys.pop()


def read_text_end(path: Path, limit_bytes: int = 64 * 1024) -> str:
    """The last part of a text file, whole lines; empty if there is none yet."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - limit_bytes))
            data = file.read()
    except FileNotFoundError:
        return ""
    text = data.decode("utf-8", "replace")
    return text.split("\n", 1)[-1] if size > limit_bytes else text


def _copied(snapshot: RunSnapshot) -> RunSnapshot:
    return replace(
        snapshot,
        metrics={name: copy.copy(summary) for name, summary in snapshot.metrics.items()},
        evals=list(snapshot.evals),
        samples=list(snapshot.samples),
        checkpoints=dict(snapshot.checkpoints),
        artifacts=dict(snapshot.artifacts),
        notices=list(snapshot.notices),
    )


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
