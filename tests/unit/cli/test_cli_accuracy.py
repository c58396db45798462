"""The accuracy command: words for people, figures for programs."""

from studio.rundir.layout import write_json
from tests.helpers.runs import make_run
from tests.unit.cli.conftest import Cli

ESTIMATE = {
    "memory": {"total_bytes": 8_388_608, "low_bytes": 7_000_000, "high_bytes": 9_000_000},
    "time": {"seconds": 8.0, "low": 6.0, "high": 10.0, "seconds_per_step": 0.4},
    "energy": {"watt_hours": None, "low": None, "high": None},
    "uncorrected": {"basis": "formula", "peak_bytes": 8_000_000, "seconds_per_step": 0.4},
}


def test_that_without_runs_it_says_what_it_will_show(cli: Cli) -> None:
    answer = cli("accuracy")
    assert answer.code == 0
    assert "no finished run yet" in answer.out
    assert cli("accuracy", "--json").json == {"runs": [], "groups": []}


def test_that_forecasts_stand_beside_measurements(cli: Cli) -> None:
    write_json(make_run().estimate, ESTIMATE)
    text = cli("accuracy").out
    assert "8.00 MiB > 9.54 MiB !" in text
    assert "8 s > 7 s" in text
    assert "+19.2%" in text


def test_that_json_has_pairs_with_their_errors_and_groups(cli: Cli) -> None:
    write_json(make_run().estimate, ESTIMATE)
    found = cli("accuracy", "--json").json
    (run,) = found["runs"]
    assert run["seconds"] == {
        "predicted": 8.0, "low": 6.0, "high": 10.0, "measured": 7.0, "error": -0.125, "inside": True,
    }  # fmt: skip
    assert run["watt_hours"] is None
    assert [(group["quantity"], group["runs"], group["inside"]) for group in found["groups"]] == [
        ("memory", 1, 0.0),
        ("time", 1, 1.0),
    ]
