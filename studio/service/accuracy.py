"""How far the studio's own forecasts were off, run by run and for groups of like runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal

from studio.core.paths import home

if TYPE_CHECKING:
    from studio.catalog.rows import Measurement

Quantity = Literal["memory", "time", "energy"]

MOST_RUNS = 1000
MOST_UNMETERED = 0.05  # share of the time that may be in no energy figure, well within a meter's own error
NOTHING_YET = (
    "no finished run yet: after each, this page sets what was foreseen of memory, time and energy against what was "
    "measured, and says how often the 90 % band held"
)


@dataclass(frozen=True)
class Pair:
    """A forecast as it was shown, with its 90 % band, and what the run then measured; bytes, seconds or watt-hours."""

    predicted: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        """How much more was measured than foreseen, as a share of the forecast (0.1: 10 % more)."""
        return self.measured / self.predicted - 1

    @property
    def inside(self) -> bool:
        """Whether the band held what was measured."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True)
class RunAccuracy:
    """One finished run. ``basis`` is where its forecast of memory came from, before any correction.

    A pair is None where nothing was foreseen or measured. Of a run that ended before its last planned step only
    memory is compared, of one that shared its device no energy.
    """

    run: str
    name: str
    device: str
    precision: str
    method: str
    basis: str
    memory: Pair | None
    seconds: Pair | None
    watt_hours: Pair | None

    def pair(self, quantity: Quantity) -> Pair | None:
        return {"memory": self.memory, "time": self.seconds, "energy": self.watt_hours}[quantity]


@dataclass(frozen=True)
class GroupAccuracy:
    """Runs of one device, precision and method; for memory of one basis too, which is "" otherwise.

    ``median_error`` is the median of the absolute errors, ``bias`` that of the errors, both as shares of the
    forecast; ``inside`` is the share of runs whose 90 % band held.
    """

    quantity: Quantity
    device: str
    precision: str
    method: str
    basis: str
    runs: int
    median_error: float
    bias: float
    inside: float


@dataclass(frozen=True)
class Accuracy:
    """Every finished run, the newest first, and the groups they make, the largest first."""

    runs: tuple[RunAccuracy, ...] = ()
    groups: tuple[GroupAccuracy, ...] = ()


def list_accuracy() -> Accuracy:
    """Forecast against measurement of the finished runs that the catalog knows."""
    from studio.catalog.connection import opened
    from studio.catalog.queries import list_forecasts

    with opened(home().catalog):
        runs = tuple(_compare(run, estimate) for run, estimate in list_forecasts(MOST_RUNS))
    groups = [group for quantity in ("memory", "time", "energy") for group in _groups(quantity, runs)]
    return Accuracy(runs, tuple(groups))


def _compare(run: "Measurement", estimate: Mapping[str, Any]) -> RunAccuracy:
    from studio.service.run_history import metered_watt_hours

    whole = run.step == run.steps
    watt_hours = metered_watt_hours(run, MOST_UNMETERED)
    return RunAccuracy(
        run=run.id,
        name=run.name,
        device=run.device,
        precision=run.precision,
        method=run.method,
        basis=run.basis,
        memory=_pair(estimate.get("memory"), ("total_bytes", "low_bytes", "high_bytes"), run.peak_bytes),
        seconds=_pair(estimate.get("time"), ("seconds", "low", "high"), run.seconds if whole else None),
        watt_hours=_pair(estimate.get("energy"), ("watt_hours", "low", "high"), watt_hours if whole else None),
    )


def _pair(forecast: Mapping[str, Any] | None, names: tuple[str, str, str], measured: float | None) -> Pair | None:
    predicted, low, high = ((forecast or {}).get(name) for name in names)
    if not predicted or low is None or high is None or measured is None:
        return None
    return Pair(predicted, low, high, measured)


def _groups(quantity: Quantity, runs: Iterable[RunAccuracy]) -> list[GroupAccuracy]:
    found: dict[tuple[str, str, str, str], list[Pair]] = {}
    for run in runs:
        pair = run.pair(quantity)
        if pair is not None:
            basis = run.basis if quantity == "memory" else ""
            found.setdefault((run.device, run.precision, run.method, basis), []).append(pair)
    groups = [
        GroupAccuracy(
            quantity,
            *key,
            runs=len(pairs),
            median_error=median(abs(pair.error) for pair in pairs),
            bias=median(pair.error for pair in pairs),
            inside=fmean(pair.inside for pair in pairs),
        )
        for key, pairs in found.items()
    ]
    return sorted(groups, key=lambda group: -group.runs)
