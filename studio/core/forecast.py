"""Forecasts of memory, time and energy: the types that window, CLI and catalog share."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Basis = Literal["formula", "simulated", "probed", "calibrated"]


class Forecast(BaseModel):
    """Base of the forecast types: frozen, and tolerant of fields a newer studio wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class MemoryParts(Forecast):
    """Bytes of device memory at the peak of a step, by what holds them."""

    weights: int = 0
    trainable: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0
    workspace: int = 0
    context: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in type(self).model_fields)


class MemoryForecast(Forecast):
    """Peak device memory in bytes with its 90 % band."""

    total_bytes: int
    low_bytes: int
    high_bytes: int
    parts: MemoryParts


class TimeForecast(Forecast):
    """Wall time in seconds with its 90 % band, start-up and evals included; seconds per optimizer step."""

    seconds: float
    low: float
    high: float
    seconds_per_step: float


class EnergyForecast(Forecast):
    """Energy in watt-hours with its 90 % band; cost in the user's currency, CO2 in grams.

    None where nothing is known: a device without a readable meter has no honest figure.
    """

    watt_hours: float | None = None
    low: float | None = None
    high: float | None = None
    cost: float | None = None
    co2_g: float | None = None


class Advice(Forecast):
    """One change that would help: in words, its effect, and the spec patch that makes it.

    ``patch`` maps dotted spec paths to values, e.g. ``{"train.checkpointing": True}``. ``slower`` is the run's
    time with the change by its time without (1.3: 30 % longer). ``fits`` says whether this change alone suffices.
    """

    change: str
    saves_bytes: int
    patch: dict[str, Any]
    slower: float | None = None
    fits: bool = True


class Room(Forecast):
    """The most that would still fit: rows of the planned length at once, tokens per row at the planned micro-batch.

    0 where not even one row, or not the shortest sensible row, fits.
    """

    micro_batch: int
    max_length: int


class Uncorrected(Forecast):
    """The figures before any correction from past runs: what later corrections are learned from.

    ``basis`` says where ``peak_bytes`` came from; errors of one basis say nothing about another.
    """

    basis: Basis = "formula"
    peak_bytes: int
    seconds_per_step: float
    watts: float | None = None


class Estimate(Forecast):
    """What a run will need. ``fits`` is None when the device's memory is unknown."""

    memory: MemoryForecast
    time: TimeForecast
    energy: EnergyForecast
    fits: bool | None
    verdict: Literal["fits", "close", "does not fit", "unknown"]
    device: str
    basis: Basis
    evidence: str  # one sentence: what the figures rest on
    fallback: str = ""  # why the figures rest on less than they could, e.g. what the simulation failed at
    advice: tuple[Advice, ...] = ()
    room: Room | None = None
    uncorrected: Uncorrected | None = None


class DeviceFit(Forecast):
    """Whether one device could run a spec: a device of this machine, or a common card with all its memory free."""

    name: str
    here: bool
    total_bytes: int
    free_bytes: int
    need_bytes: int
    verdict: Literal["fits", "close", "does not fit", "unknown"]
    seconds: float
