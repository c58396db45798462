"""The meter from driver to joules on a simulated clock, against energy in closed form, while things go wrong."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from studio.core.errors import MachineError
from studio.core.facts import DeviceSample
from studio.devices import Energy, EnergyMeter, energy, gpu, machine, near_cadence
from studio.devices.cpu import CpuReader
from studio.devices.machine import Machine
from studio.devices.nvml import Nvml
from studio.devices.rapl import Rapl
from tests.helpers.fake_nvml import FakeGpu, FakeNvml

COUNTER = "nvmlDeviceGetTotalEnergyConsumption"
PLAIN_POWER = "nvmlDeviceGetPowerUsage"
DENIED = pynvml.NVML_ERROR_NO_PERMISSION
UNKNOWN = pynvml.NVML_ERROR_NOT_SUPPORTED
RAPL_RANGE_UJ = 262_143_328_850  # a common package: 2**32 steps of 61 microjoules


@dataclass
class Bench:
    """A machine with one fake GPU, on a clock that moves only when told; everything above the driver is real."""

    now: float
    nvml: FakeNvml

    @property
    def gpu(self) -> FakeGpu:
        return self.nvml.gpus[0]

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def run(self, meter: EnergyMeter, seconds: float, *, interval_s: float = 1.0) -> None:
        """Feed the meter as the sampler does, until ``seconds`` from now."""
        end = self.now + seconds
        while self.now < end:
            meter.add(machine.sample("cuda:0", 42))
            self.wait(min(interval_s, end - self.now))

    def truth_j(self, since: float) -> float:
        return self.gpu.energy_j(self.now) - self.gpu.energy_j(since)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    made = Bench(20.0, FakeNvml(lambda: made.now, [FakeGpu("GPU-a")]).install(monkeypatch))
    monkeypatch.setattr(machine, "_machine", Machine(Nvml(lambda: made.now)))
    monkeypatch.setattr(gpu, "time", SimpleNamespace(time=lambda: made.now))
    monkeypatch.setattr(energy, "time", SimpleNamespace(sleep=made.wait))
    return made


def errors_anywhere(bench: Bench, period_s: float, seconds: float) -> Iterator[float]:
    """Relative errors of runs that begin, end and meet the load's wave at arbitrary moments."""
    dice = random.Random(0)
    for _ in range(100):
        bench.nvml.gpus = [FakeGpu("GPU-a", period_s=period_s, phase_s=dice.random())]
        bench.wait(dice.random())
        meter, since = EnergyMeter("cuda:0", 42), bench.now
        bench.run(meter, seconds + dice.random() / 4)
        meter.settle()
        yield (meter.total().joules or 0.0) / bench.truth_j(since) - 1


@pytest.mark.parametrize("period_s", [0.7, 0.23])
@pytest.mark.parametrize("seconds", [6.0, 20.0])
@pytest.mark.parametrize("broken", ["", COUNTER], ids=["counter", "averaged power"])
def test_that_energy_is_within_one_percent_wherever_a_run_begins_and_ends(
    bench: Bench, period_s: float, seconds: float, broken: str
) -> None:
    bench.nvml.errors[broken] = UNKNOWN
    assert max(map(abs, errors_anywhere(bench, period_s, seconds))) < 0.01


def test_that_waiting_for_the_counter_takes_no_longer_than_it_must(bench: Bench) -> None:
    meter = EnergyMeter("cuda:0", 42)
    assert 20.0 < bench.now <= 20.1 + 0.011
    bench.gpu.low_w = bench.gpu.high_w = 0.0  # nothing will ever change
    meter.settle()
    meter.settle()
    assert bench.now < 20.5


@pytest.mark.parametrize(
    ("capability", "broken", "method"),
    [
        ((8, 6), (), "energy counter"),
        ((8, 6), (PLAIN_POWER,), "energy counter"),
        ((8, 6), ("field",), "energy counter"),
        ((8, 6), ("field", PLAIN_POWER), "energy counter"),
        ((8, 6), (COUNTER,), "averaged power"),
        ((8, 6), (COUNTER, PLAIN_POWER), "averaged power"),
        ((8, 6), (COUNTER, "field"), "averaged power"),
        ((8, 6), (COUNTER, "field", PLAIN_POWER), "none"),
        ((8, 0), (COUNTER,), "averaged power"),
        ((8, 0), (COUNTER, "field"), "none"),  # GA100's plain reading is an instant
        ((7, 5), (COUNTER, "field"), "none"),
        ((8, 6), ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMemoryInfo_v2"), "energy counter"),
    ],
)
@pytest.mark.parametrize("code", [UNKNOWN, DENIED], ids=["not supported", "not permitted"])
def test_that_the_best_meter_left_is_used(
    bench: Bench, capability: tuple[int, int], broken: tuple[str, ...], method: str, code: int
) -> None:
    bench.gpu.capability = capability
    bench.nvml.errors = dict.fromkeys(broken, code)
    bench.nvml.field_error = code if "field" in broken else 0
    meter, since = EnergyMeter("cuda:0", 42), bench.now
    bench.run(meter, 20)
    meter.settle()
    total = meter.total()
    assert total.method == method
    if method == "none":
        assert total.joules is None
        assert total.unmetered_s == pytest.approx(total.seconds)
    else:
        assert total.joules == pytest.approx(bench.truth_j(since), rel=0.01)
        assert total.unmetered_s == pytest.approx(0, abs=1e-6)


def test_that_a_counter_which_stops_answering_midway_is_replaced(bench: Bench) -> None:
    meter, since = EnergyMeter("cuda:0", 42), bench.now
    bench.run(meter, 20)
    bench.nvml.errors[COUNTER] = DENIED
    bench.run(meter, 20)
    meter.settle()
    total = meter.total()
    assert total.method == "both"
    assert total.unmetered_s == pytest.approx(0, abs=0.01)
    assert total.joules == pytest.approx(bench.truth_j(since), rel=0.01)


def test_that_a_driver_reload_in_the_middle_costs_no_energy(bench: Bench) -> None:
    meter, since = EnergyMeter("cuda:0", 42), bench.now
    bench.run(meter, 20)
    bench.gpu.energy_offset_j = -bench.gpu.energy_j(bench.now)  # the counter begins at nothing
    bench.run(meter, 20)
    meter.settle()
    total = meter.total()
    assert total.method == "both"
    assert total.joules == pytest.approx(bench.truth_j(since), rel=0.01)


def test_that_a_device_lost_for_a_while_is_counted_on_by_its_counter(bench: Bench) -> None:
    meter, since = EnergyMeter("cuda:0", 42), bench.now
    bench.run(meter, 10)
    bench.gpu.lost = True
    bench.run(meter, 10)
    assert meter.total().unmetered_s == pytest.approx(10, abs=1.1)
    bench.gpu.lost = False
    bench.wait(31)  # until the driver may be asked to start anew
    bench.run(meter, 10)
    meter.settle()
    total = meter.total()
    assert total.method == "energy counter"
    assert total.unmetered_s == pytest.approx(0, abs=1e-6)
    assert total.joules == pytest.approx(bench.truth_j(since), rel=0.01)


def test_that_a_device_lost_for_a_while_without_a_counter_leaves_a_gap_that_is_told(bench: Bench) -> None:
    bench.nvml.errors[COUNTER] = UNKNOWN
    meter, since = EnergyMeter("cuda:0", 42), bench.now
    bench.run(meter, 20)
    lost_from, bench.gpu.lost = bench.now, True
    bench.run(meter, 40)
    bench.gpu.lost, back_at = False, bench.now
    bench.run(meter, 20)
    meter.settle()
    total = meter.total()
    seen_j = bench.truth_j(since) - (bench.gpu.energy_j(back_at) - bench.gpu.energy_j(lost_from))
    assert total.unmetered_s == pytest.approx(41, abs=1.1)
    assert total.joules == pytest.approx(seen_j, rel=0.05)  # the readings on either side of the gap are in none


def test_that_a_machine_without_a_driver_runs_on_without_a_figure(bench: Bench) -> None:
    bench.nvml.errors["nvmlInitWithFlags"] = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    with pytest.raises(MachineError, match="no device"):
        machine.sample("cuda:0", 42)
    meter = EnergyMeter("cuda:0", 42)
    meter.settle()
    assert meter.total() == Energy(None, "none", 0.0, 0.0, None)


def test_that_a_driver_which_comes_late_is_metered_from_then_on(bench: Bench) -> None:
    bench.nvml.errors = {"nvmlInitWithFlags": pynvml.NVML_ERROR_DRIVER_NOT_LOADED, COUNTER: UNKNOWN}
    meter = EnergyMeter("cuda:0", 42)
    del bench.nvml.errors["nvmlInitWithFlags"]
    since = bench.now
    bench.run(meter, 20)
    meter.settle()
    assert meter.total().method == "averaged power"
    assert meter.total().joules == pytest.approx(bench.truth_j(since), rel=0.02)


def reading(time: float, **values: object) -> DeviceSample:
    base = {"device": "cuda:0", "time": time, "used_bytes": 0, "free_bytes": 0, "total_bytes": 0}
    return DeviceSample.model_validate({**base, **values})


def test_that_a_sample_overtaken_by_another_thread_counts_nothing_twice() -> None:
    counted = EnergyMeter("cuda:0", 42, averaged=True, read=None)
    powered = EnergyMeter("cuda:0", 42, averaged=True, read=None)
    for time in (0.0, 1.0, 0.97, 2.0):
        counted.add(reading(time, energy_j=1000 * time))
        powered.add(reading(time, power_w=1000))
    for meter in (counted, powered):
        assert meter.total().joules == pytest.approx(2000)
        assert meter.total().seconds == 2


@pytest.mark.parametrize("dropped", [set(), {7, 30, 31}])
def test_that_a_known_curve_is_right_to_a_thousandth_with_jitter_and_dropped_samples(dropped: set[int]) -> None:
    """Power 200 W + 40 W sin(2 pi t / 40 s), averaged over a second; its integral is known."""

    def energy_at(time: float) -> float:
        return 200 * time - 40 * 40 / math.tau * math.cos(math.tau * time / 40)

    dice = random.Random(1)
    meter = EnergyMeter("cuda:0", 42, averaged=True, read=None)
    times = [5.0, *(second + dice.uniform(-0.2, 0.2) for second in range(6, 65)), 65.0]
    for number, time in enumerate(times):
        if number not in dropped:
            meter.add(reading(time, power_w=energy_at(time) - energy_at(time - 1)))
    assert meter.total().joules == pytest.approx(energy_at(65) - energy_at(5), rel=0.001)


class Powercap:
    """A folder of RAPL files of one package that draws ``watts``, on a clock that moves only when told."""

    def __init__(self, root: Path, *, wraps_at_uj: int, watts: float) -> None:
        self.root, self.watts, self.wraps_at_uj = root, watts, wraps_at_uj
        self.now = 0.0
        self.drawn_j = wraps_at_uj / 1e6 - 50  # a wrap is near
        self.began_j = 0.0
        folder = root / "intel-rapl:0"
        folder.mkdir()
        (folder / "name").write_text("package-0")
        (folder / "max_energy_range_uj").write_text(str(wraps_at_uj))
        self.counter = folder / "energy_uj"
        self.wait(0)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.drawn_j += self.watts * seconds
        self.counter.write_text(str(round((self.drawn_j - self.began_j) * 1e6) % self.wraps_at_uj))

    def begin_anew(self) -> None:
        self.began_j = self.drawn_j


@pytest.fixture
def make_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Powercap]:
    def make(**settings: float) -> Powercap:
        made = Powercap(tmp_path, **settings)  # type: ignore[arg-type]
        reader = CpuReader(Rapl(tmp_path, lambda: made.now))
        monkeypatch.setattr(machine, "_machine", Machine(Nvml(), reader))
        monkeypatch.setattr("studio.devices.cpu.time", SimpleNamespace(time=lambda: made.now))
        monkeypatch.setattr(energy, "time", SimpleNamespace(sleep=made.wait))
        return made

    return make


@pytest.mark.parametrize("wraps_at_uj", [RAPL_RANGE_UJ, 2**32 - 1])
def test_that_the_cpu_counter_adds_up_across_its_wraps(make_cpu: Callable[..., Powercap], wraps_at_uj: int) -> None:
    cpu = make_cpu(wraps_at_uj=wraps_at_uj, watts=95.0)
    meter, since_j = EnergyMeter("cpu"), cpu.drawn_j
    for _ in range(300):
        cpu.wait(1)
        meter.add(machine.sample("cpu"))
    total = meter.total()
    assert total.joules == pytest.approx(cpu.drawn_j - since_j, rel=1e-5)
    assert total.method == "energy counter"
    assert total.unmetered_s == pytest.approx(0, abs=1e-6)


def test_that_a_cpu_counter_which_began_anew_is_no_wrap(make_cpu: Callable[..., Powercap]) -> None:
    cpu = make_cpu(wraps_at_uj=RAPL_RANGE_UJ, watts=95.0)
    cpu.drawn_j = 5000.0
    cpu.wait(0)
    meter, since_j = EnergyMeter("cpu"), cpu.drawn_j
    for second in range(20):
        if second == 10:
            cpu.begin_anew()
        cpu.wait(1)
        meter.add(machine.sample("cpu"))
    assert meter.total().joules == pytest.approx(cpu.drawn_j - since_j, abs=1)


def test_that_a_cpu_counter_which_root_takes_away_is_told_apart(
    make_cpu: Callable[..., Powercap], monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = make_cpu(wraps_at_uj=RAPL_RANGE_UJ, watts=95.0)
    meter = EnergyMeter("cpu")
    cpu.wait(10)
    meter.add(machine.sample("cpu"))
    read_text = Path.read_text

    def refuse(self: Path) -> str:
        if self.name == "energy_uj":
            raise PermissionError(str(self))
        return read_text(self)

    monkeypatch.setattr(Path, "read_text", refuse)
    cpu.wait(5)
    total = meter.total()
    assert total.joules == pytest.approx(950, rel=0.01)
    assert total.unmetered_s == pytest.approx(5)


@pytest.mark.parametrize("step_s", [0.1, 0.0985, 0.102, 0.2, 0.3])
def test_that_steps_at_the_cadence_of_the_power_readings_are_flagged(step_s: float) -> None:
    assert near_cadence(step_s)


@pytest.mark.parametrize("step_s", [0.001, 0.04, 0.09, 0.15, 0.23, 0.26, 1.0, 3.0])
def test_that_other_steps_are_not(step_s: float) -> None:
    assert not near_cadence(step_s)


def part_time_error(step_s: float, phase_s: float) -> float:
    """Relative error of 1,200 readings that look at 25 of 100 ms; steps draw 310 W for 75 % of their time, then 110."""

    def energy_j(time: float) -> float:
        steps, rest = divmod(time + phase_s, step_s)
        return 260 * step_s * steps + 110 * rest + 200 * min(rest, 0.75 * step_s)

    seen_w = [(energy_j(0.1 * n + 0.025) - energy_j(0.1 * n)) / 0.025 for n in range(1200)]
    return sum(seen_w) / len(seen_w) / 260 - 1


@pytest.mark.parametrize("step_s", [0.1, 0.2, 0.3, 0.23, 0.26, 0.37])
def test_that_what_is_flagged_is_what_misleads_a_part_time_sensor(step_s: float) -> None:
    worst = max(abs(part_time_error(step_s, step_s * phase / 16)) for phase in range(16))
    assert worst > 0.1 if near_cadence(step_s) else worst < 0.03, worst
