"""Forecast against measurement: run by run, and by device, precision, method and basis."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from studio.core import events as ev
from studio.rundir.layout import write_json
from studio.service import runs
from studio.service.accuracy import Accuracy, GroupAccuracy, Pair, list_accuracy
from tests.helpers.runs import make_run, story


def foreseen(**changes: Any) -> dict[str, Any]:
    """An estimate that the story of a run nearly meets: 10 MB, 7 s, 1.5 Wh."""
    return {
        "memory": {"total_bytes": 8_000_000, "low_bytes": 7_000_000, "high_bytes": 9_000_000},
        "time": {"seconds": 8.0, "low": 6.0, "high": 10.0, "seconds_per_step": 0.4},
        "energy": {"watt_hours": 2.0, "low": 1.0, "high": 3.0},
        "uncorrected": {"basis": "formula", "peak_bytes": 8_000_000, "seconds_per_step": 0.4},
        **changes,
    }


def add_run(name: str, estimate: dict[str, Any], events: list[ev.Event] | None = None, **spec: Any) -> None:
    write_json(make_run(f"20261124-063100-{name}", events, name=name, **spec).estimate, estimate)


def found() -> Accuracy:
    runs.refresh()
    return list_accuracy()


def measured(**changes: Any) -> list[ev.Event]:
    return [replace(event, **changes) if isinstance(event, ev.Measured) else event for event in story()]


def test_that_a_run_is_set_against_the_forecast_that_was_shown() -> None:
    add_run("a", foreseen())
    (run,) = found().runs
    assert (run.name, run.device, run.precision, run.method, run.basis) == ("a", "AMD EPYC", "bf16", "lora", "formula")
    assert run.memory == Pair(8_000_000, 7_000_000, 9_000_000, 10_000_000)
    assert run.seconds == Pair(8.0, 6.0, 10.0, 7.0)
    assert run.watt_hours == Pair(2.0, 1.0, 3.0, 1.5)
    assert (run.memory.error, run.memory.inside) == (0.25, False)
    assert (run.seconds.error, run.seconds.inside) == (-0.125, True)


def test_that_a_run_that_ended_early_is_compared_by_its_memory_alone() -> None:
    shorter = [event for event in story(end="stopped") if not (isinstance(event, ev.Metrics) and event.step[0] == 3)]
    add_run("a", foreseen(), shorter)
    (run,) = found().runs
    assert run.memory is not None
    assert (run.seconds, run.watt_hours) == (None, None)


@pytest.mark.parametrize("changes", [{"shared": True}, {"unmetered_s": 1.0}, {"watt_hours": None}])
def test_that_energy_which_is_not_the_runs_own_is_not_compared(changes: dict[str, Any]) -> None:
    add_run("a", foreseen(), measured(**changes))
    (run,) = found().runs
    assert run.watt_hours is None
    assert run.seconds is not None


def test_that_what_was_not_foreseen_is_not_compared() -> None:
    add_run("a", foreseen(energy={"watt_hours": None, "low": None, "high": None}, time=None))
    (run,) = found().runs
    assert (run.seconds, run.watt_hours) == (None, None)
    assert {group.quantity for group in found().groups} == {"memory"}


def test_that_failed_runs_are_left_out() -> None:
    add_run("a", foreseen(), story(end="failed"))
    assert found() == Accuracy()


def test_that_groups_tell_size_direction_and_share_of_errors() -> None:
    for name, peak in (("a", 7_600_000), ("b", 8_800_000), ("c", 10_000_000)):
        add_run(name, foreseen(energy=None, time=None), measured(peak_bytes=peak))
    (group,) = found().groups
    assert replace(group, median_error=0.0, bias=0.0, inside=0.0) == GroupAccuracy(
        "memory", "AMD EPYC", "bf16", "lora", "formula", 3, median_error=0.0, bias=0.0, inside=0.0
    )
    assert (group.median_error, group.bias, group.inside) == pytest.approx((0.1, 0.1, 2 / 3))


def test_that_memory_is_grouped_by_basis_and_the_rest_is_not() -> None:
    simulated = {"basis": "simulated", "peak_bytes": 8_000_000, "seconds_per_step": 0.4}
    add_run("a", foreseen())
    add_run("b", foreseen(uncorrected=simulated))
    add_run("c", foreseen(), method={"placements": [{"use": "dora"}]})
    groups = [(group.quantity, group.method, group.basis, group.runs) for group in found().groups]
    assert sorted(groups) == sorted([
        ("memory", "lora", "formula", 1), ("memory", "lora", "simulated", 1), ("memory", "dora", "formula", 1),
        ("time", "lora", "", 2), ("time", "dora", "", 1), ("energy", "lora", "", 2), ("energy", "dora", "", 1),
    ])  # fmt: skip


def test_that_a_home_without_runs_has_nothing_to_compare() -> None:
    assert found() == Accuracy()


def test_that_the_page_needs_neither_torch_nor_the_database_to_be_imported() -> None:
    code = "import sys, studio.service.accuracy; sys.exit(len({'torch', 'peewee'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
