"""Runs that differ in precision alone, by what they draw and use, and whether the difference is real."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from studio.service import run_report
from studio.service.run_report import Difference
from studio.service.welch import WelchTest, welch_test

PRECISIONS = ("fp32", "bf16", "fp16")  # the first that was run is what the others are compared with
MEASURES = {
    "mean_w": "W", "joules_per_token": "J/token", "joules_per_step": "J/step", "watt_hours_per_epoch": "Wh/epoch",
    "co2_g": "g CO2",
}  # fmt: skip
LEAST_RUNS = 3  # of each precision, before anything is said of their difference
# the fields in which repeats of one experiment differ; the date is the day's, in chat templates
REPEATS = frozenset(
    {"name", "train.seed", "train.precision", "plan.seed", "plan.precision", "plan.date", "data.split.seed",
     "plan.split_seed"}
)  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """The values of one measure in a group of runs; the deviation is None for a single one."""

    values: tuple[float, ...]
    mean: float
    deviation: float | None


@dataclass(frozen=True)
class PowerGroup:
    """The runs of one precision, and each of ``MEASURES`` that some of them have."""

    precision: str
    runs: tuple[str, ...]
    measures: dict[str, Spread]


@dataclass(frozen=True)
class PowerDifference:
    """How ``precision`` differs from ``reference`` in one measure: its mean less the other's, with 95 % interval.

    ``verdict`` says it in a sentence. Interval and two-sided p-value (Welch) are None with a single run on a side.
    """

    measure: str
    unit: str
    reference: str
    precision: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    verdict: str


@dataclass(frozen=True)
class PowerReport:
    """Groups by precision, their differences, what else differs between the runs, and what to beware of."""

    groups: tuple[PowerGroup, ...]
    differences: tuple[PowerDifference, ...]
    differs: tuple[Difference, ...]
    notes: tuple[str, ...]


def report_power(run_ids: Sequence[str]) -> PowerReport:
    """Compare runs by precision.

    Raises:
        UserError: there is no such run.
    """
    shown = [run_report.show_run(run_id) for run_id in dict.fromkeys(run_ids)]
    config = run_report.compare([run["id"] for run in shown]).config
    groups = group_runs(shown)
    return PowerReport(
        groups=groups,
        differences=tuple(compare_groups(groups)),
        differs=tuple(line for line in config if line.field not in REPEATS),
        notes=tuple(_notes(shown, groups)),
    )


def group_runs(shown: Iterable[Mapping[str, Any]]) -> tuple[PowerGroup, ...]:
    """Runs, as ``runs show`` tells them, by the precision of their plan; the reference first."""
    by_precision: dict[str, list[Mapping[str, Any]]] = {}
    for run in shown:
        by_precision.setdefault(run["plan"]["precision"], []).append(run)
    return tuple(
        PowerGroup(precision, tuple(run["id"] for run in by_precision[precision]), _spreads(by_precision[precision]))
        for precision in PRECISIONS
        if precision in by_precision
    )


def compare_groups(groups: Sequence[PowerGroup]) -> Iterable[PowerDifference]:
    """Every group but the first against the first, in each measure that both have."""
    for group in groups[1:]:
        for measure, spread in group.measures.items():
            if measure in groups[0].measures:
                yield _difference(measure, groups[0], groups[0].measures[measure], group, spread)


def _spreads(runs: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    found: dict[str, Spread] = {}
    for name in MEASURES:
        values = tuple(run["measured"][name] for run in runs if run["measured"][name] is not None)
        if values:
            found[name] = Spread(values, fmean(values), stdev(values) if len(values) > 1 else None)
    return found


def _difference(measure: str, first: PowerGroup, before: Spread, second: PowerGroup, after: Spread) -> PowerDifference:
    counts = len(before.values), len(after.values)
    test = welch_test(before.values, after.values) if min(counts) > 1 else None
    if test is None or min(counts) < LEAST_RUNS:
        verdict = (
            f"too few runs to tell: {counts[0]} of {first.precision}, {counts[1]} of {second.precision}; "
            f"it takes {LEAST_RUNS} of each"
        )
    else:
        verdict = _verdict(test, first.precision, second.precision, MEASURES[measure])
    return PowerDifference(
        measure, MEASURES[measure], first.precision, second.precision, after.mean - before.mean,
        low=None if test is None else test.low,
        high=None if test is None else test.high,
        p_value=None if test is None else test.p_value,
        verdict=verdict,
    )  # fmt: skip


def _verdict(test: WelchTest, first: str, second: str, unit: str) -> str:
    if test.low <= 0 <= test.high:
        return f"too few runs to tell: the difference lies between {test.low:+.3g} and {test.high:+.3g} {unit}"
    direction = "less" if test.difference < 0 else "more"
    least, most = sorted((abs(test.low), abs(test.high)))
    return (
        f"{second} takes {abs(test.difference):.3g} {unit} {direction} than {first} "
        f"({least:.3g} to {most:.3g} {unit} with 95 % confidence, p = {test.p_value:.2g})"
    )


def _notes(shown: Sequence[Mapping[str, Any]], groups: Sequence[PowerGroup]) -> Iterable[str]:
    def named(wanted: Iterable[Mapping[str, Any]]) -> str:
        return ", ".join(run["id"] for run in wanted)

    if len(groups) == 1:
        yield f"all runs are in {groups[0].precision}: there is nothing to compare them with"
    if silent := [run for run in shown if run["measured"]["watt_hours"] is None]:
        yield f"no energy was metered in {named(silent)}"
    if shared := [run for run in shown if run["measured"]["shared"]]:
        yield f"other processes used the device too, and their energy is included, in {named(shared)}"
    if near := [run for run in shown if run["measured"]["near_cadence"]]:
        yield f"steps beat with the 0.1 s at which a GPU reads its power, so figures may be 20 % off, in {named(near)}"
    rates = [run["measured"]["rates"] for run in shown if run["measured"]["rates"]]
    if len({rate["g_per_kwh"] for rate in rates}) > 1:
        yield "the runs were planned with different carbon intensities: their CO2 does not compare"
