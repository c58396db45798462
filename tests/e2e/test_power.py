"""From specs over real training in two precisions to the report of what each draws, on a meter of known power."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from studio.core.events import StateChanged
from studio.core.facts import DeviceSample
from studio.devices import EnergyMeter
from studio.engine.run import run
from studio.engine.telemetry import Telemetry
from studio.rundir.log import EventLog
from studio.service import runs, settings
from studio.service.power_report import report_power
from studio.service.start_run import create_run
from tests.helpers import tiny

WATTS = {"fp32": 100.0, "bf16": 80.0}


@pytest.fixture(autouse=True)
def _one_thread_here() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def meter_of(watts: float) -> EnergyMeter:
    """A meter whose counter rises by ``watts`` from now on."""

    def read(device_id: str, _pid: int | None) -> DeviceSample:
        now = time.time()
        return DeviceSample(
            device=device_id, time=now, used_bytes=0, free_bytes=0, total_bytes=0, energy_j=watts * now
        )  # fmt: skip

    return EnergyMeter("cpu", read=read)


@pytest.fixture
def train(tiny_llama: Path, questions: Path) -> Callable[[str, int], str]:
    def train_one(precision: str, seed: int) -> str:
        spec = tiny.questions_spec(tiny_llama, questions, precision=precision, seed=seed, max_steps=4, eval_every=4)
        folder = create_run(spec)
        with EventLog(folder.events) as log:
            state = run(folder, Telemetry(log, "cpu"), meter_of(WATTS[precision] + seed / 10))
            log.append(StateChanged(time.time(), state))
        folder.worker.touch()
        return folder.id

    return train_one


def test_that_runs_of_two_precisions_are_told_apart_by_power_energy_and_co2(train: Callable[[str, int], str]) -> None:
    settings.change(tariff_per_kwh=0.4, currency="EUR", grid="DEU")
    ids = [train(precision, seed) for seed in range(3) for precision in WATTS]
    runs.refresh()
    for run_id in ids:
        shown = runs.show_run(run_id)
        measured, watt_hours = shown["measured"], shown["measured"]["watt_hours"]
        assert measured["mean_w"] == pytest.approx(WATTS[shown["plan"]["precision"]], rel=0.02)
        assert measured["cost"] == pytest.approx(watt_hours / 1000 * 0.4)
        assert measured["co2_g"] == pytest.approx(watt_hours / 1000 * measured["rates"]["g_per_kwh"])
        assert measured["joules_per_token"] > 0
    report = report_power(ids)
    assert [(group.precision, len(group.runs)) for group in report.groups] == [("fp32", 3), ("bf16", 3)]
    found = {line.measure: line for line in report.differences}
    assert found["mean_w"].difference == pytest.approx(-20, abs=1)
    assert found["mean_w"].verdict.startswith("bf16 takes 20 W less than fp32")
    assert {"joules_per_token", "joules_per_step", "co2_g"} <= found.keys()
    assert report.differs == ()
