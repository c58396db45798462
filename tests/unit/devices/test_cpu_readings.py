"""The CPU as a device: facts, RAM within a container's limit, and energy from RAPL."""

import os
from pathlib import Path

import pytest

from studio.core.errors import MachineError
from studio.devices import capabilities, list_devices, sample
from studio.devices.cpu import CpuReader, cpu_facts
from studio.devices.memory import read_ram
from studio.devices.rapl import Rapl, read_power_limit_w
from studio.devices.reading import Missing


def test_that_the_cpu_is_always_a_device() -> None:
    cpu = list_devices()[0]
    assert (cpu.id, cpu.kind) == ("cpu", "cpu")
    assert cpu.name
    assert cpu.cores is not None
    assert cpu.cores >= 1
    assert 0 < cpu.free_bytes <= cpu.total_bytes


@pytest.mark.parametrize(
    ("text", "name", "bf16"),
    [
        ("model name\t: AMD EPYC 9654\nflags\t\t: fpu avx512f avx512_bf16\n\nprocessor: 1", "AMD EPYC 9654", True),
        ("model name\t: Intel Old\nflags\t\t: fpu avx2 avx512_bf16x\n", "Intel Old", False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", None, True),
    ],
)
def test_that_name_and_bf16_come_from_the_kernel(tmp_path: Path, text: str, name: str | None, bf16: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    facts = cpu_facts(cpuinfo)
    assert facts.bf16 is bf16
    assert facts.name == (name or facts.name)


def test_that_a_system_without_cpuinfo_still_has_a_cpu(tmp_path: Path) -> None:
    assert cpu_facts(tmp_path / "none").name


def test_that_this_process_has_resident_bytes() -> None:
    reading = sample("cpu", os.getpid())
    assert reading.process_bytes is not None
    assert reading.process_bytes > 1_000_000


def test_that_an_ended_process_has_none() -> None:
    assert "ended" in CpuReader().read(2**22 + 7).missing["process_bytes"]


def test_that_use_is_known_from_the_second_reading_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    names = ("user", "idle")
    times = iter([(1.0, 9.0), (4.0, 16.0)])

    class Times(tuple[float, ...]):
        idle = property(lambda self: self[names.index("idle")])

    monkeypatch.setattr(psutil, "cpu_times", lambda: Times(next(times)))
    reader = CpuReader()
    assert reader.read(None).sample.utilization is None
    assert reader.read(None).sample.utilization == pytest.approx(0.3)


def test_that_an_unknown_device_is_named_in_the_error() -> None:
    with pytest.raises(MachineError, match="no device 'cuda:99'"):
        sample("cuda:99")


def test_that_capabilities_explain_what_is_missing() -> None:
    found = capabilities("cpu")
    assert found["process_bytes"].readable
    assert all(item.readable or item.reason for item in found.values())


def test_that_a_container_limit_bounds_the_ram(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    (tmp_path / "memory.stat").write_text("anon 9\ninactive_file 300000000\n")
    ram = read_ram(tmp_path)
    assert ram.total_bytes == 2_000_000_000
    assert ram.free_bytes <= 800_000_000


def test_that_an_unlimited_container_has_all_the_ram(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    assert read_ram(tmp_path).total_bytes == read_ram(tmp_path / "none").total_bytes


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    for name, label in [("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:1", "psys")]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "name").write_text(label + "\n")
        (folder / "energy_uj").write_text("9000000\n")
        (folder / "max_energy_range_uj").write_text("10000000\n")
        (folder / "constraint_0_power_limit_uw").write_text("65000000\n")
    return tmp_path


def test_that_package_energy_adds_up_across_a_wrap(powercap: Path) -> None:
    now = [0.0]
    rapl = Rapl(powercap, lambda: now[0])
    assert rapl.read() == (0.0, None)
    now[0] = 2.0
    (powercap / "intel-rapl:0" / "energy_uj").write_text("5000000\n")
    assert rapl.read() == (6.0, 3.0)


def test_that_only_packages_count_towards_the_power_limit(powercap: Path) -> None:
    assert read_power_limit_w(powercap) == 65.0


def test_that_a_machine_without_rapl_says_so(tmp_path: Path) -> None:
    answer = Rapl(tmp_path).read()
    assert isinstance(answer, Missing)
    assert "no energy counter" in answer.reason
    assert read_power_limit_w(tmp_path) is None


def test_that_a_counter_for_root_only_says_so(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_text = Path.read_text

    def refuse(self: Path) -> str:
        if self.name == "energy_uj":
            raise PermissionError(str(self))
        return read_text(self)

    monkeypatch.setattr(Path, "read_text", refuse)
    answer = Rapl(powercap).read()
    assert isinstance(answer, Missing)
    assert "root" in answer.reason
    assert read_power_limit_w(powercap) is None


def test_that_rapl_energy_reaches_the_sample(powercap: Path) -> None:
    reader = CpuReader(Rapl(powercap))
    assert reader.read(None).sample.energy_j == 0.0
