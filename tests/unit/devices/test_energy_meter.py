"""The energy meter against a fake GPU whose energy is known in closed form, on a simulated clock."""

from collections.abc import Iterator

import pynvml
import pytest

from studio.core.facts import DeviceSample
from studio.devices.energy import Energy, EnergyMeter
from studio.devices.machine import Machine
from studio.devices.nvml import Nvml
from tests.helpers.fake_nvml import FakeGpu, FakeNvml

PERIODS_S = [0.7, 0.23, 0.1, 3.0]


def samples_of(fake: FakeNvml, clock: list[float], seconds: float, interval_s: float) -> Iterator[DeviceSample]:
    machine = Machine(Nvml())
    for _ in range(round(seconds / interval_s) + 1):
        yield machine.read("cuda:0", 42).sample.model_copy(update={"time": clock[0]})
        clock[0] += interval_s


def measure(
    monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu, seconds: float, *, without_counter: bool = False
) -> tuple[Energy, float]:
    clock = [20.0]
    fake = FakeNvml(lambda: clock[0], [gpu]).install(monkeypatch)
    if without_counter:
        fake.errors["nvmlDeviceGetTotalEnergyConsumption"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    meter = EnergyMeter("cuda:0", 42, averaged=True, read=None)
    for sample in samples_of(fake, clock, seconds, 0.1):
        meter.add(sample)
    return meter.total(), gpu.energy_j(20.0 + seconds) - gpu.energy_j(20.0)


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_that_the_counter_is_within_one_percent(monkeypatch: pytest.MonkeyPatch, period_s: float) -> None:
    energy, truth_j = measure(monkeypatch, FakeGpu("GPU-a", period_s=period_s), 6.0)
    assert energy.method == "energy counter"
    assert energy.joules == pytest.approx(truth_j, rel=0.01)
    assert energy.unmetered_s == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("period_s", [0.7, 0.23, 0.1])
def test_that_averaged_power_is_within_one_percent(monkeypatch: pytest.MonkeyPatch, period_s: float) -> None:
    energy, truth_j = measure(monkeypatch, FakeGpu("GPU-a", period_s=period_s), 6.0, without_counter=True)
    assert energy.method == "averaged power"
    assert energy.joules == pytest.approx(truth_j, rel=0.01)


def test_that_averaged_power_is_within_one_percent_wherever_a_wave_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    for offset_s in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        gpu = FakeGpu("GPU-a", period_s=0.7, phase_s=offset_s)
        energy, truth_j = measure(monkeypatch, gpu, 20.0, without_counter=True)
        assert energy.joules == pytest.approx(truth_j, rel=0.01)


def test_that_the_rise_from_idle_is_not_lost_to_the_lag_of_an_average() -> None:
    assert total(reading(0, power_w=50), reading(1, power_w=300), reading(2, power_w=300)).joules == 600


def reading(time: float, energy_j: float | None = None, power_w: float | None = None, **more: object) -> DeviceSample:
    return DeviceSample.model_validate(
        {"device": "cuda:0", "time": time, "used_bytes": 0, "free_bytes": 0, "total_bytes": 0}
        | {"energy_j": energy_j, "power_w": power_w}
        | more
    )


def total(*samples: DeviceSample, averaged: bool = True) -> Energy:
    meter = EnergyMeter("cuda:0", 42, averaged=averaged, read=None)
    for sample in samples:
        meter.add(sample)
    return meter.total()


def test_that_instants_of_power_are_never_integrated() -> None:
    energy = total(reading(0, power_w=100), reading(1, power_w=100), averaged=False)
    assert (energy.joules, energy.method, energy.unmetered_s) == (None, "none", 1.0)


def test_that_a_counter_reset_is_bridged_by_power() -> None:
    energy = total(reading(0, 500, 100), reading(1, 600, 100), reading(2, 5, 100), reading(3, 105, 100))
    assert energy.joules == pytest.approx(300)
    assert energy.method == "both"


def test_that_a_counter_which_comes_back_replaces_the_power_meanwhile() -> None:
    energy = total(reading(0, 0, 90), reading(1, None, 90), reading(2, None, 90), reading(3, 330, 90))
    assert (energy.joules, energy.method, energy.unmetered_s) == (330, "energy counter", 0)


def test_that_a_counter_which_stays_away_leaves_the_power() -> None:
    energy = total(reading(0, 0, 90), reading(1, 100, 90), reading(2, None, 90), reading(3, None, 90))
    assert energy.joules == pytest.approx(100 + 180)


def test_that_time_on_a_lost_device_is_told_apart() -> None:
    energy = total(reading(0, power_w=100), reading(1, power_w=100), reading(2), reading(3), reading(4, power_w=100))
    assert (energy.joules, energy.unmetered_s) == (100, 3)


def test_that_no_power_is_invented_for_a_suspended_machine() -> None:
    energy = total(reading(0, power_w=100), reading(1, power_w=100), reading(3601, power_w=100))
    assert (energy.joules, energy.unmetered_s) == (100, 3600)


def test_that_a_clock_set_back_loses_nothing_else() -> None:
    energy = total(reading(10, 0, 50), reading(5, 50, 50), reading(6, 100, 50))
    assert energy.joules == 100


@pytest.mark.parametrize(
    ("processes", "shared"),
    [(((42, 5),), False), (((42, 5), (7, 5)), True), (((7, 5),), None), ((), None)],
)
def test_that_sharing_is_told_when_the_driver_lists_us(
    processes: tuple[tuple[int, int], ...], shared: bool | None
) -> None:
    assert total(reading(0, 0, processes=processes), reading(1, 9, processes=processes)).shared is shared


def test_that_a_meter_without_samples_has_no_figure() -> None:
    assert total() == Energy(None, "none", 0.0, 0.0, None)


def test_that_a_counter_is_read_when_somebody_asks() -> None:
    readings = iter([reading(0, 90), reading(0.1, 100), reading(60, 350), reading(61, 360)])
    meter = EnergyMeter("cuda:0", averaged=True, read=lambda _device, _pid: next(readings))
    assert (meter.total().joules, meter.total().joules) == (250, 260)


def test_that_a_device_without_a_meter_has_no_joules() -> None:
    times = iter([0.0, 1.0])
    meter = EnergyMeter("cpu", averaged=True, read=lambda _device, _pid: reading(next(times)))
    assert meter.total().joules is None
