"""Runs of different precision compared: figures, verdicts, and what makes them doubtful."""

import random
from typing import Any

import pytest

from studio.core import events as ev
from studio.rundir.layout import write_json
from studio.service.power_report import PowerReport, compare_groups, group_runs, report_power
from tests.helpers.runs import ESTIMATE, PLAN, SPEC, make_run, story

RATES = {"tariff_per_kwh": 0.3, "currency": "EUR", "grid": "DEU", "g_per_kwh": 400.0, "source": "a table", "year": 2023}


def make(precision: str, number: int, watts: float | None, *, rates: dict[str, Any] = RATES, **more: Any) -> str:
    """A run of 4 steps, 400 tokens and 10 s at that power."""
    measured = ev.Measured(
        108.0, 1, seconds=10.0, seconds_per_step=0.5, tokens_per_second=200.0, shared=more.pop("shared", None),
        watt_hours=None if watts is None else watts * 10 / 3600,
    )  # fmt: skip
    told = [event for event in story() if not isinstance(event, ev.Measured | ev.StateChanged)]
    train = {**SPEC["train"], "precision": precision, "seed": number, **more}
    folder = make_run(
        f"20261124-06{number:02d}00-{precision}", [*told, measured, ev.StateChanged(109.0, "completed")],
        name=f"{precision}-{number}", train=train,
    )  # fmt: skip
    plan = {**PLAN, "precision": precision, "seed": number, "learning_rate": train["learning_rate"]}
    write_json(folder.plan, plan)
    write_json(folder.energy, rates)
    write_json(folder.estimate, ESTIMATE)
    return folder.id


def report(**watts: list[float | None]) -> PowerReport:
    return report_power([make(name, n, value) for name, values in watts.items() for n, value in enumerate(values)])


def test_that_a_clear_difference_is_told_with_its_interval() -> None:
    made = report(bf16=[242.0, 245.5, 239.1, 244.7, 243.3], fp32=[251.2, 249.8, 250.3])
    assert [(group.precision, len(group.runs)) for group in made.groups] == [("fp32", 3), ("bf16", 5)]
    assert made.groups[0].measures["mean_w"].mean == pytest.approx(250.433, abs=1e-3)
    assert made.groups[0].measures["joules_per_token"].mean == pytest.approx(250.433 * 10 / 400, rel=1e-5)
    assert made.groups[0].measures["co2_g"].mean == pytest.approx(250.433 * 10 / 3.6e6 * 400, rel=1e-5)
    found = {line.measure: line for line in made.differences}
    assert found.keys() == {"mean_w", "joules_per_token", "joules_per_step", "co2_g"}
    watts = found["mean_w"]
    assert (watts.reference, watts.precision, watts.unit) == ("fp32", "bf16", "W")
    assert watts.p_value == pytest.approx(0.001572497717599281)
    assert watts.verdict == "bf16 takes 7.51 W less than fp32 (4.42 to 10.6 W with 95 % confidence, p = 0.0016)"
    assert (made.differs, made.notes) == ((), ())


@pytest.mark.parametrize(
    ("fp32", "bf16", "words"),
    [
        ([250.0], [240.0], "1 of fp32, 1 of bf16; it takes 3 of each"),
        ([250.0, 251.0], [240.0, 240.5, 241.0], "2 of fp32, 3 of bf16; it takes 3 of each"),
        ([250.0, 260.0, 240.0], [251.0, 242.0, 239.0], "the difference lies between -"),
    ],
)
def test_that_too_few_runs_are_called_that(fp32: list[float], bf16: list[float], words: str) -> None:
    verdicts = {line.verdict for line in report(fp32=[*fp32], bf16=[*bf16]).differences}
    assert all(verdict.startswith("too few runs to tell: ") for verdict in verdicts)
    assert any(words in verdict for verdict in verdicts)


def test_that_a_third_precision_is_compared_with_the_first_too() -> None:
    made = report(fp16=[200.0, 201.0, 202.0], bf16=[240.0, 241.0, 242.0], fp32=[300.0, 301.0, 302.0])
    pairs = [(line.reference, line.precision) for line in made.differences if line.measure == "mean_w"]
    assert pairs == [("fp32", "bf16"), ("fp32", "fp16")]


def test_that_runs_in_one_precision_have_no_difference() -> None:
    made = report(bf16=[240.0, 241.0])
    assert made.differences == ()
    assert made.notes == ("all runs are in bf16: there is nothing to compare them with",)


def test_that_runs_without_a_meter_are_named_and_not_counted() -> None:
    made = report(fp32=[250.0, None], bf16=[None, None])
    assert [len(group.runs) for group in made.groups] == [2, 2]
    assert made.groups[0].measures["mean_w"].values == (250.0,)
    assert (made.groups[1].measures, made.differences) == ({}, ())
    assert made.notes[0].startswith("no energy was metered in 20261124-060100-fp32, 20261124-060000-bf16")


def test_that_what_else_differs_and_what_is_doubtful_is_said() -> None:
    first = make("fp32", 1, 250.0, shared=True)
    second = make("bf16", 2, 240.0, learning_rate=1e-3, rates={**RATES, "g_per_kwh": 30.0})
    made = report_power([first, second, first])
    assert [line.field for line in made.differs] == ["train.learning_rate", "plan.learning_rate"]
    assert [len(group.runs) for group in made.groups] == [1, 1]
    assert made.notes == (
        f"other processes used the device too, and their energy is included, in {first}",
        "the runs were planned with different carbon intensities: their CO2 does not compare",
    )


def simulated(shift_w: float, size: int, dice: random.Random) -> bool:
    """Whether the report of simulated runs (sigma 5 W) says that their power differs."""
    runs = [
        {"id": f"{precision}{n}", "plan": {"precision": precision}, "measured": {
            **dict.fromkeys(("joules_per_token", "joules_per_step", "watt_hours_per_epoch", "co2_g")),
            "mean_w": dice.gauss(mean, 5)}}
        for precision, mean in (("fp32", 250), ("bf16", 250 + shift_w)) for n in range(size)
    ]  # fmt: skip
    (line,) = compare_groups(group_runs(runs))
    return not line.verdict.startswith("too few")


def test_that_reports_of_equal_runs_are_wrong_in_one_of_twenty() -> None:
    dice = random.Random(3)
    assert sum(simulated(0, 5, dice) for _ in range(1000)) / 1000 == pytest.approx(0.05, abs=0.02)


def test_that_reports_find_ten_watts_in_ten_runs_each() -> None:
    dice = random.Random(3)
    assert sum(simulated(-10, 10, dice) for _ in range(1000)) / 1000 > 0.95
