"""What goes into the catalog and what comes out, as plain data without a database behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict


class Labels(BaseModel):
    """A run's labels.json: when and from which run it was made, and what a person says about it.

    Kept in the run folder, so that a rebuild loses nothing; entries of a newer studio are kept too.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    created: float | None = None
    parent: str | None = None
    name: str | None = None
    notes: str = ""
    tags: tuple[str, ...] = ()
    star: bool = False
    trashed: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """A run folder's unchanging part. ``created`` is seconds since the epoch."""

    id: str
    created: float
    spec: Mapping[str, Any]
    plan: Mapping[str, Any] | None = None
    estimate: Mapping[str, Any] | None = None
    labels: Labels = field(default_factory=Labels)


class RunRow(NamedTuple):
    """One line of the runs table; times are seconds since the epoch, None where not known yet."""

    key: int
    id: str
    name: str
    state: str
    task: str
    model: str
    data: str
    method: str
    device: str
    precision: str
    trainable: int | None
    step: int
    steps: int | None
    created: float
    started: float | None
    updated: float | None
    ended: float | None
    eval_before: float | None
    eval_after: float | None
    seconds: float | None
    seconds_per_step: float | None
    tokens_per_second: float | None
    watt_hours: float | None
    peak_bytes: int | None
    error: str
    parent: str | None
    star: bool
    notes: str
    trashed: float | None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list; every condition must hold, an empty one always does.

    ``tags``: all of them. ``trashed``: the trash instead of the rest.
    """

    text: str = ""
    states: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    model: str = ""
    data: str = ""
    method: str = ""
    starred: bool = False
    trashed: bool = False


@dataclass(frozen=True)
class Measurement:
    """A finished run's prediction before any correction, and what was measured; bytes, seconds, watts.

    ``basis`` is where ``predicted_bytes`` came from. ``unmetered_s`` of the ``seconds`` are not in the energy;
    ``shared`` says whether others used the device meanwhile (None: not known); ``halved`` whether it went on with fewer
    rows at once than was foreseen.
    """

    id: str
    name: str
    model_fingerprint: str
    device: str
    precision: str
    method: str
    basis: str
    driver: str
    torch: str
    step: int
    steps: int | None
    predicted_bytes: int
    predicted_seconds_per_step: float
    predicted_watts: float | None
    peak_bytes: int
    seconds_per_step: float
    seconds: float
    watt_hours: float | None
    unmetered_s: float
    shared: bool | None
    halved: bool
