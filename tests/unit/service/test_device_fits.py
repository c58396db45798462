"""Which devices could run a spec: each planned for itself, the machine's own first."""

from pathlib import Path
from typing import Any

import pytest

from studio.core.facts import DeviceFacts
from studio.core.forecast import DeviceFit
from studio.core.plan import Plan
from studio.core.units import GIB
from studio.estimate.profile import MemoryProfile
from studio.estimate.tables import common_cards
from studio.service import device_fits as module
from studio.service.device_fits import device_fits
from studio.service.hypothetical import gpu_of, on_device
from studio.service.plan_run import plan_run
from studio.service.simulation import SimulationError, Simulator
from tests.helpers import tiny
from tests.helpers.estimates import cpu, gpu

HERE = [cpu(), gpu()]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def spec(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(module, "list_devices", lambda: HERE)
    return tiny.questions_spec(llama, tiny.make_questions(tmp_path / "questions.jsonl"))


class Recorder(Simulator):
    """Refuses every question and keeps for which device it was."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def profile(self, plan: Plan, device: DeviceFacts, *, length: int, trained: int, alone: bool) -> MemoryProfile:
        self.asked.append(device.name)
        raise SimulationError("not today")


def by_name(fits: list[DeviceFit]) -> dict[str, DeviceFit]:
    return {fit.name: fit for fit in fits}


def test_that_the_devices_of_this_machine_come_first_and_then_every_common_card(spec: dict[str, Any]) -> None:
    found = device_fits(spec)
    assert [fit.name for fit in found] == [device.name for device in HERE] + [card.name for card in common_cards()]
    assert [fit.here for fit in found] == [True] * len(HERE) + [False] * len(common_cards())


def test_that_each_line_is_what_the_plan_for_that_device_says(spec: dict[str, Any]) -> None:
    found = by_name(device_fits(spec))
    for device in HERE:
        estimate = plan_run(on_device(spec, device.id), devices=[device]).estimate
        assert estimate is not None
        fit = found[device.name]
        assert (fit.need_bytes, fit.verdict, fit.seconds) == (
            estimate.memory.total_bytes, estimate.verdict, estimate.time.seconds,
        )  # fmt: skip
        assert (fit.total_bytes, fit.free_bytes) == (device.total_bytes, device.free_bytes)


def test_that_the_chosen_device_of_the_spec_is_left_alone(spec: dict[str, Any]) -> None:
    spec["train"]["device"] = "cuda:0"
    assert by_name(device_fits(spec))["Test CPU"].verdict == "fits"
    assert spec["train"]["device"] == "cuda:0"


def test_that_devices_on_which_the_spec_is_wrong_are_left_out(spec: dict[str, Any]) -> None:
    spec["train"]["precision"] = "fp16"
    found = device_fits(spec)
    assert found
    assert all(fit.name != "Test CPU" for fit in found)
    spec["train"] = ["no mapping"]
    assert device_fits(spec) == []


def test_that_a_device_with_little_memory_does_not_fit(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    small = cpu().model_copy(update={"free_bytes": GIB // 4})
    monkeypatch.setattr(module, "list_devices", lambda: [small])
    assert by_name(device_fits(spec))["Test CPU"].verdict == "does not fit"


def test_that_every_device_is_simulated_where_there_is_a_simulator(spec: dict[str, Any]) -> None:
    recorder = Recorder()
    assert device_fits(spec, recorder) == device_fits(spec)  # by the formula, since it refuses
    assert set(recorder.asked) == {device.name for device in HERE} | {card.name for card in common_cards()}


def test_that_a_card_nobody_has_is_described_by_its_memory_and_generation() -> None:
    turing = gpu_of(16, "Tesla T4", (7, 5))
    assert (turing.kind, turing.free_bytes, turing.bf16) == ("cuda", 16 * GIB, False)
    assert gpu_of(12, None).bf16
    assert on_device({"train": "x"}, "cpu") == {"train": "x"}
    assert on_device({}, "cpu") == {"train": {"device": "cpu"}}
