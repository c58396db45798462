"""GPU facts and readings through the real pynvml over a fake driver."""

import os
import subprocess
import sys

import pynvml
import pytest

from studio.core.errors import MachineError
from studio.devices.machine import Machine
from studio.devices.nvml import Nvml
from tests.helpers.fake_nvml import FakeGpu, FakeNvml

GIB = 1024**3


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> FakeNvml:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = [FakeGpu("GPU-aaa"), FakeGpu("GPU-bbb", name="NVIDIA Test 100", capability=(7, 5))]
    return FakeNvml(clock, gpus).install(monkeypatch)


@pytest.fixture
def machine(fake: FakeNvml, clock: Clock) -> Machine:
    return Machine(Nvml(clock))


def test_that_every_gpu_is_listed_after_the_cpu_with_its_facts(machine: Machine) -> None:
    cpu, first, second = machine.list_devices()
    assert (cpu.id, first.id, second.id) == ("cpu", "cuda:0", "cuda:1")
    assert (first.name, first.total_bytes, first.driver) == ("NVIDIA Test 9000", 24 * GIB, "580.65.06")
    assert (first.compute_capability, first.bf16, first.power_limit_w) == ((8, 6), True, 350.0)
    assert not second.bf16


def test_that_memory_the_driver_reserves_is_not_free(machine: Machine) -> None:
    sample = machine.read("cuda:0").sample
    assert sample.free_bytes == 24 * GIB - GIB - 256 * 1024**2
    assert sample.used_bytes + sample.free_bytes == sample.total_bytes


def test_that_an_old_driver_without_the_newer_memory_call_still_answers(machine: Machine, fake: FakeNvml) -> None:
    fake.absent.add("nvmlDeviceGetMemoryInfo_v2")
    assert machine.read("cuda:0").sample.total_bytes == 24 * GIB


def test_that_a_gpu_which_shares_the_ram_reports_the_ram(machine: Machine, fake: FakeNvml) -> None:
    fake.errors["nvmlDeviceGetMemoryInfo_v2"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert machine.read("cuda:0").sample.total_bytes == machine.read("cpu").sample.total_bytes


def test_that_a_full_reading_has_every_field(machine: Machine, fake: FakeNvml) -> None:
    fake.gpus[0].processes = [(77, GIB), (4, 5)]
    reading = machine.read("cuda:0", 77)
    sample = reading.sample
    assert reading.missing == {}
    assert (sample.process_bytes, sample.processes) == (GIB, ((4, 5), (77, GIB)))
    assert (sample.utilization, sample.temperature_c, sample.power_limit_w) == (0.8, 55.0, 350.0)
    assert sample.power_w is not None
    assert 60 < sample.power_w < 300
    assert sample.energy_j == pytest.approx(fake.gpus[0].energy_j(10.0) + 1234.5, abs=0.01)


@pytest.mark.parametrize(
    ("call", "field", "code", "words"),
    [
        ("nvmlDeviceGetTotalEnergyConsumption", "energy_j", pynvml.NVML_ERROR_NOT_SUPPORTED, "does not report"),
        ("nvmlDeviceGetTemperature", "temperature_c", pynvml.NVML_ERROR_NO_PERMISSION, "not allow"),
        ("nvmlDeviceGetUtilizationRates", "utilization", pynvml.NVML_ERROR_TIMEOUT, "Timeout"),
        ("nvmlDeviceGetEnforcedPowerLimit", "power_limit_w", pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, "too old"),
        ("nvmlDeviceGetComputeRunningProcesses_v3", "processes", pynvml.NVML_ERROR_NO_PERMISSION, "not allow"),
    ],
)
def test_that_a_field_which_cannot_be_read_is_missing_with_its_reason(
    machine: Machine, fake: FakeNvml, call: str, field: str, code: int, words: str
) -> None:
    fake.errors[call] = code
    reading = machine.read("cuda:0")
    assert not getattr(reading.sample, field)
    assert words in reading.missing[field]
    assert reading.sample.total_bytes == 24 * GIB


def test_that_power_falls_back_to_the_plain_reading(machine: Machine, fake: FakeNvml) -> None:
    fake.field_error = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert machine.read("cuda:0").sample.power_w is not None
    assert machine.power_is_averaged("cuda:0"), "Ampere averages the plain reading too"
    assert not machine.power_is_averaged("cuda:1"), "Turing does not"


def test_that_the_a100_does_not_average_its_plain_reading(machine: Machine, fake: FakeNvml) -> None:
    fake.gpus[0].capability = (8, 0)
    assert machine.power_is_averaged("cuda:0")
    fake.absent.add("nvmlDeviceGetFieldValues")
    pynvml._nvmlGetFunctionPointer_cache.clear()
    assert not machine.power_is_averaged("cuda:0")


def test_that_a_lost_gpu_gives_an_empty_reading_and_one_restart(machine: Machine, fake: FakeNvml) -> None:
    machine.list_devices()
    fake.gpus[1].lost = True
    before = fake.sessions
    reading = machine.read("cuda:1")
    assert (reading.sample.total_bytes, reading.sample.power_w) == (0, None)
    assert "lost" in reading.missing["free_bytes"]
    assert fake.sessions == before + 1
    assert machine.read("cuda:0").sample.total_bytes == 24 * GIB


def test_that_a_lost_gpu_does_not_rename_the_others(machine: Machine, fake: FakeNvml) -> None:
    machine.list_devices()
    fake.gpus[0].lost = True
    names = {facts.id: facts.name for facts in machine.list_devices()}
    assert names["cuda:1"] == "NVIDIA Test 100"


def test_that_a_gpu_which_comes_back_is_read_again(machine: Machine, fake: FakeNvml) -> None:
    machine.list_devices()
    fake.gpus[0].lost = True
    machine.read("cuda:0")
    fake.gpus[0].lost = False
    assert machine.read("cuda:0").sample.total_bytes == 24 * GIB


def test_that_a_session_which_the_driver_closed_is_opened_again(machine: Machine, fake: FakeNvml) -> None:
    machine.list_devices()
    fake.running = False
    assert machine.read("cuda:0").sample.power_w is not None


def test_that_a_machine_without_a_driver_has_just_the_cpu(
    monkeypatch: pytest.MonkeyPatch, fake: FakeNvml, machine: Machine
) -> None:
    fake.errors["nvmlInitWithFlags"] = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert [facts.id for facts in machine.list_devices()] == ["cpu"]
    with pytest.raises(MachineError, match="no device 'cuda:0'"):
        machine.read("cuda:0")


def test_that_the_numbering_follows_cuda_visible_devices(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [(facts.id, facts.name) for facts in machine.list_devices()[1:]] == [("cuda:0", "NVIDIA Test 100")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert len(Machine().list_devices()) == 1


def test_that_importing_devices_loads_neither_nvml_nor_psutil() -> None:
    code = "import sys, studio.devices; sys.exit(len({'pynvml', 'psutil', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode == 0
