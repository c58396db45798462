"""Cost, CO2 and energy per token, step and epoch: facts of the run, whatever the settings say later."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.core import events as ev
from studio.core.errors import UserError
from studio.rundir.layout import RunFolder, write_json
from studio.service import runs, settings
from studio.service.run_energy import EnergyRates, rates_of, read_epochs
from studio.service.settings import Settings
from studio.service.start_run import create_run
from tests.helpers.runs import append, make_run, story

RUN = "20261124-063100-boolq-lora-4f2a"
GERMANY = {
    "tariff_per_kwh": 0.3, "currency": "EUR", "grid": "DEU", "g_per_kwh": 400.0, "source": "a table", "year": 2023,
}  # fmt: skip


def shown(folder: RunFolder) -> dict[str, Any]:
    measured: dict[str, Any] = runs.show_run(folder.id)["measured"]
    return measured


def measured_run(measured: ev.Measured, *more: ev.Event, device: str = "cpu", state: str = "completed") -> RunFolder:
    """A run of 4 steps and 400 tokens with these measurements, over 16 rows in batches of 8."""
    told = [event for event in story() if not isinstance(event, ev.Measured | ev.StateChanged)]
    folder = make_run(
        RUN, [ev.StateChanged(101.0, "running"), *told, *more, measured, ev.StateChanged(109.0, state)]
    )  # fmt: skip
    plan = json.loads(folder.plan.read_text())
    write_json(folder.plan, {**plan, "device": device, "train_rows": 16, "effective_batch": 8})
    return folder


def measurement(**fields: Any) -> ev.Measured:
    return ev.Measured(**{
        "time": 108.0, "peak_bytes": 1, "seconds": 10.0, "seconds_per_step": 0.5, "tokens_per_second": 200.0,
        "watt_hours": 2.0, **fields,
    })  # fmt: skip


def test_that_cost_and_co2_are_by_the_rates_of_the_day_and_say_their_source() -> None:
    folder = measured_run(measurement())
    write_json(folder.energy, GERMANY)
    settings.change(tariff_per_kwh=9.0, currency="USD", grid="POL")
    measured = shown(folder)
    assert measured["cost"] == pytest.approx(2.0 / 1000 * 0.3)
    assert measured["co2_g"] == pytest.approx(0.8)
    assert measured["rates"] == GERMANY


def test_that_a_run_without_rates_or_without_a_meter_has_no_cost() -> None:
    folder = measured_run(measurement())
    assert (shown(folder)["cost"], shown(folder)["co2_g"]) == (None, None)
    assert shown(folder)["mean_w"] == pytest.approx(720)
    runs.delete(RUN)
    folder = measured_run(measurement(watt_hours=None, energy_method="none", unmetered_s=10.0))
    write_json(folder.energy, GERMANY)
    unknown = ("cost", "co2_g", "mean_w", "joules_per_token", "joules_per_step", "watt_hours_per_epoch", "near_cadence")
    assert {shown(folder)[name] for name in unknown} == {None}


def test_that_a_run_that_measured_nothing_yet_has_the_same_fields() -> None:
    before = shown(make_run(RUN, story()[:5]))
    runs.delete(RUN)
    assert before.keys() == shown(measured_run(measurement())).keys()
    assert not any(before.values())


def test_that_energy_is_shared_out_over_tokens_and_steps() -> None:
    measured = shown(measured_run(measurement()))
    assert measured["joules_per_token"] == pytest.approx(7200 / 400)
    assert measured["joules_per_step"] == pytest.approx(7200 / 4)


@pytest.mark.parametrize(("unmetered_s", "told"), [(0.4, True), (0.6, False)])
def test_that_much_unmetered_time_leaves_only_the_mean_power(unmetered_s: float, told: bool) -> None:
    measured = shown(measured_run(measurement(unmetered_s=unmetered_s)))
    assert measured["mean_w"] == pytest.approx(7200 / (10 - unmetered_s))
    assert (measured["joules_per_token"] is not None) is told


def test_that_steps_after_the_measurement_are_not_divided_by() -> None:
    measured = shown(measured_run(measurement(), state="crashed"))
    assert (measured["watt_hours"], measured["joules_per_token"]) == (2.0, None)


@pytest.mark.parametrize(
    ("device", "seconds", "flagged"), [("cuda:0", 0.1, True), ("cuda:0", 0.23, False), ("cpu", 0.1, False)]
)
def test_that_steps_at_the_cadence_of_a_gpus_meter_are_flagged(device: str, seconds: float, flagged: bool) -> None:
    steps = ev.Metrics(108.0, [5, 6, 7, 8, 9], {"seconds": [seconds] * 5, "tokens": [1] * 5})
    assert shown(measured_run(measurement(), steps, device=device))["near_cadence"] is flagged


def epoch(number: int, step: int, watt_hours: float | None = 1.0) -> ev.EpochEnded:
    return ev.EpochEnded(105.0, number, step, 2.0, 200, watt_hours)


@pytest.mark.parametrize(
    ("epochs", "watt_hours"),
    [
        ([epoch(1, 2, 1.0), epoch(2, 4, 2.0)], 1.5),
        ([epoch(1, 2, 1.0), epoch(2, 3, 0.1)], 1.0),  # 24 of 32 rows: cut short
        ([epoch(1, 1, 0.4)], None),
        ([epoch(1, 2, None)], None),
        ([], None),
    ],
)
def test_that_the_energy_of_an_epoch_is_the_mean_of_whole_ones(
    epochs: list[ev.EpochEnded], watt_hours: float | None
) -> None:
    measured = shown(measured_run(measurement(), *epochs))
    assert measured["watt_hours_per_epoch"] == watt_hours
    assert [told["step"] for told in measured["epochs"]] == [ended.step for ended in epochs]


def test_that_epochs_trained_again_after_a_resume_count_once(tmp_path: Path) -> None:
    append(
        tmp_path,
        [
            epoch(1, 2), epoch(2, 4, 7.0), ev.Resumed(1.0, 3), ev.Metrics(1.0, [4], {"loss": [1.0]}),
            epoch(2, 4, 1.2), epoch(3, 5, 0.5), ev.Resumed(1.0, 5), epoch(3, 6, 0.9),
        ],
    )  # fmt: skip
    assert [(ended.epoch, ended.watt_hours) for ended in read_epochs(tmp_path / "events.jsonl")] == [
        (1, 1.0), (2, 1.2), (3, 0.9),
    ]  # fmt: skip
    assert read_epochs(tmp_path / "none.jsonl") == []


def test_that_rates_say_where_they_are_from() -> None:
    table = rates_of(Settings(tariff_per_kwh=0.25, currency="CHF", grid="germany"))
    assert (table.grid, table.tariff_per_kwh, table.currency) == ("DEU", 0.25, "CHF")
    assert table.g_per_kwh is not None
    assert table.year is not None
    assert "Our World in Data" in table.source
    own = rates_of(Settings(grid=123.0))
    assert (own.g_per_kwh, own.source, own.year, own.grid) == (123.0, "settings", None, "")
    assert rates_of(Settings()) == EnergyRates(currency="EUR")


def test_that_damaged_rates_are_named() -> None:
    folder = make_run(RUN)
    folder.energy.write_text('{"tariff_per_kwh": "much"}')
    with pytest.raises(UserError, match="no energy rates"):
        runs.show_run(RUN)


def test_that_a_run_is_made_with_the_rates_of_its_day(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.service import start_run
    from tests.helpers.runs import SPEC

    class Planned:
        plan = estimate = Settings()  # anything that can be written
        problems = ()

    monkeypatch.setattr(start_run, "plan_run", lambda _spec, **_: Planned())
    settings.change(tariff_per_kwh=0.5, grid="FRA")
    folder = create_run(SPEC)
    settings.change(tariff_per_kwh=0.7)
    kept = json.loads(folder.energy.read_text())
    assert (kept["tariff_per_kwh"], kept["grid"]) == (0.5, "FRA")
