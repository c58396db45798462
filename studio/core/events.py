"""What a worker reports, one JSON object per line; kinds that this version does not know are kept."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

EVENT_SCHEMA = 1


@dataclass(frozen=True)
class Event:
    """Base of all events. ``time`` is seconds since the epoch."""

    kind: ClassVar[str] = ""
    time: float


@dataclass(frozen=True)
class StateChanged(Event):
    """The run entered a state (see ``studio.core.state``)."""

    kind: ClassVar[str] = "state"
    state: str
    reason: str = ""


@dataclass(frozen=True)
class PhaseChanged(Event):
    """What the worker is busy with, in words ("loading the model"), with progress 0..1 where known."""

    kind: ClassVar[str] = "phase"
    phase: str
    progress: float | None = None


@dataclass(frozen=True)
class Metrics(Event):
    """Training metrics of consecutive optimizer steps, one list per metric, aligned with ``step``.

    ``loss`` is the mean over trained tokens (rows for classification), ``tokens`` those processed,
    ``seconds`` the step's wall time.
    """

    kind: ClassVar[str] = "metrics"
    step: list[int]
    values: dict[str, list[float]]


@dataclass(frozen=True)
class Evaluated(Event):
    """Held-out metrics after ``step`` optimizer steps (0 = the untuned model)."""

    kind: ClassVar[str] = "eval"
    step: int
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Sampled(Event):
    """What the model wrote for held-out prompts after ``step`` steps: prompt, expected, output."""

    kind: ClassVar[str] = "samples"
    step: int
    samples: list[dict[str, str]]


@dataclass(frozen=True)
class DeviceRead(Event):
    """One device reading, the fields of ``DeviceSample``; memory the trainer holds in ``allocated_bytes``."""

    kind: ClassVar[str] = "device"
    sample: dict[str, Any]
    allocated_bytes: int | None = None


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """A complete checkpoint lies in ``checkpoints/STEP``; ``best`` if its eval loss is the lowest so far."""

    kind: ClassVar[str] = "checkpoint"
    step: int
    path: str
    bytes_: int
    best: bool = False
    removed: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Resumed(Event):
    """The worker continues after ``step``: metrics of later steps in the log are superseded."""

    kind: ClassVar[str] = "resumed"
    step: int


@dataclass(frozen=True)
class ArtifactWritten(Event):
    """Something the user can take away: ``name`` is its role ("adapter"), ``path`` is in the run folder."""

    kind: ClassVar[str] = "artifact"
    name: str
    path: str
    bytes_: int


@dataclass(frozen=True)
class Noticed(Event):
    """Something the user should know; ``level`` is info or warning."""

    kind: ClassVar[str] = "notice"
    level: str
    message: str


@dataclass(frozen=True)
class Failed(Event):
    """Why the run ended early: what, where, what to do; ``error`` is the error class.

    ``details`` has the measured figures behind it. Out of memory: ``phase``, ``step`` (those done), ``rows`` (at
    once), ``asked_bytes``, ``held_bytes``, ``held`` (bytes by kind of tensor), ``total_bytes`` and ``free_bytes`` of
    the device, and ``foreseen``, the forecast's ``total_bytes`` and ``parts``; each as far as it is known.
    """

    kind: ClassVar[str] = "error"
    error: str
    message: str
    hint: str = ""
    where: str = ""
    traceback: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured(Event):
    """What the run really used, over all its sessions: peak bytes, seconds, watt-hours.

    ``energy_method`` names the meter ("energy counter", "averaged power", "both", "none"); ``unmetered_s`` of the
    seconds are in no energy figure; ``shared``: other processes used the device too (None: not known).
    ``allocated_bytes`` is the peak that the tensors took, where the allocator tells, without what the process and
    its allocator hold besides. ``halved``: memory ran out, and the run went on with fewer rows at once than planned.
    """

    kind: ClassVar[str] = "measured"
    peak_bytes: int
    seconds: float
    seconds_per_step: float
    tokens_per_second: float
    watt_hours: float | None = None
    energy_method: str = ""
    unmetered_s: float = 0.0
    shared: bool | None = None
    allocated_bytes: int | None = None
    halved: bool = False


@dataclass(frozen=True)
class EpochEnded(Event):
    """One pass over the training rows (the last may be cut short), with what it took alone; evals included."""

    kind: ClassVar[str] = "epoch"
    epoch: int
    step: int
    seconds: float
    tokens: int
    watt_hours: float | None = None


@dataclass(frozen=True)
class Unknown(Event):
    """An event of a kind that a newer worker wrote; kept, never dropped."""

    kind: ClassVar[str] = "unknown"
    name: str
    body: dict[str, Any]


KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        StateChanged, PhaseChanged, Metrics, Evaluated, Sampled, DeviceRead, CheckpointSaved,
        Resumed, ArtifactWritten, Noticed, Failed, Measured, EpochEnded,
    )
}  # fmt: skip


def encode(event: Event) -> str:
    """One line of JSON, without the newline. NaN and infinities are written as strings."""
    if isinstance(event, Unknown):
        body = dict(event.body)
        name = event.name
    else:
        body = asdict(event)
        name = event.kind
    return json.dumps({"kind": name, **_finite(body)}, allow_nan=False, separators=(",", ":"))


def decode(line: str | bytes) -> Event | None:
    """The event of one line; None for a line that is no JSON object (a torn write, damage)."""
    try:
        body = json.loads(line)
    except ValueError:
        return None
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
        return None
    name = body.pop("kind")
    time = body.get("time")
    if not isinstance(time, int | float):
        return None
    cls = KINDS.get(name)
    if cls is None:
        return Unknown(time=time, name=name, body=body)
    known = {f.name for f in fields(cls)}
    try:
        return cls(**{key: _number(value) for key, value in body.items() if key in known})
    except TypeError:  # a field this version needs is missing
        return Unknown(time=time, name=name, body=body)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _number(value: Any) -> Any:
    """Undo ``_finite`` in metric containers; texts at the top level stay texts."""
    if isinstance(value, dict):
        return {
            key: _SPECIAL.get(item, item) if isinstance(item, str) else _number(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_SPECIAL.get(item, item) if isinstance(item, str) else _number(item) for item in value]
    return value
