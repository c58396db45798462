"""The Devices screen."""

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.core.errors import MachineError
from studio.core.facts import DeviceSample
from studio.gui.screens.devices.card import WINDOW_S, DeviceCard
from studio.gui.screens.devices.readings import NO_GPU, Reading, facts_text
from studio.gui.screens.devices.screen import DevicesScreen
from tests.gui.accessibility import nameless, too_wide
from tests.gui.fake_backend import CPU, GPU, FakeBackend


@pytest.fixture
def screen(qtbot: QtBot, window_app: QApplication, backend: FakeBackend) -> Iterator[DevicesScreen]:
    made = DevicesScreen(backend)
    qtbot.addWidget(made)
    made.resize(1100, 740)
    made.show()
    yield made
    made.leave()


def test_that_a_machine_without_a_gpu_says_so(screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.device_list = [CPU]
    screen.enter()
    qtbot.waitUntil(screen.no_gpu.isVisible)
    assert screen.no_gpu.accessibleName() == NO_GPU == "No NVIDIA GPU found; training runs on the CPU."
    assert list(screen.cards) == ["cpu"]


def test_that_each_device_is_followed_while_in_view(screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.device_list = [CPU, GPU]
    screen._timer.setInterval(30)
    screen.enter()
    qtbot.waitUntil(lambda: len(screen.cards) == 2 and len(screen.cards["cuda:0"]._series["power"]) > 3)
    gpu, cpu = screen.cards["cuda:0"], screen.cards["cpu"]
    assert gpu._figures["power"].text() == "310 W"
    assert "process 4711: 2.00 GiB" in gpu._others.text()
    assert cpu._figures["power"].text() == "–"
    assert not cpu._plots["power"].isVisible()
    assert not screen.no_gpu.isVisible()
    screen.leave()
    assert not screen._timer.isActive()


def test_that_a_device_that_fails_says_why_and_the_others_go_on(
    screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = backend.sample_device

    def failing(device_id: str) -> DeviceSample:
        if device_id == "cuda:0":
            raise MachineError("the GPU fell off the bus")
        return sample(device_id)

    monkeypatch.setattr(backend, "sample_device", failing)
    backend.device_list = [CPU, GPU]
    screen.enter()
    qtbot.waitUntil(lambda: len(screen.cards) == 2)
    assert screen.cards["cuda:0"]._problem.text() == "the GPU fell off the bus"
    assert screen.cards["cpu"]._figures["utilisation"].text() == "42%"


def test_that_a_lost_device_leaves_the_screen_at_the_next_visit(
    screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.device_list = [CPU, GPU]
    screen.enter()
    qtbot.waitUntil(lambda: len(screen.cards) == 2)
    screen.leave()
    backend.device_list = [CPU]
    screen.enter()
    qtbot.waitUntil(lambda: list(screen.cards) == ["cpu"])


def test_that_only_the_last_five_minutes_are_kept(qtbot: QtBot, window_app: QApplication) -> None:
    card = DeviceCard(Reading(CPU, None))
    qtbot.addWidget(card)
    for second in range(0, 1000, 10):
        sample = DeviceSample(device="cpu", time=float(second), used_bytes=1, free_bytes=1, total_bytes=2)
        card.show_reading(Reading(CPU, sample))
    series = card._series["memory"]
    assert series.x[-1] - series.x[0] <= WINDOW_S


def test_that_a_screen_reader_finds_names_on_everything(
    screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.device_list = [CPU, GPU]
    screen.enter()
    qtbot.waitUntil(lambda: len(screen.cards) == 2)
    assert nameless(screen) == []
    assert too_wide(screen, screen.width()) == []


def test_that_a_device_is_described_in_one_line() -> None:
    assert facts_text(GPU) == (
        "24.0 GiB memory  ·  compute capability 8.9  ·  computes in bfloat16  ·  up to 450 W  ·  driver 570.86"
    )
