"""The Devices screen."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.core.errors import MachineError
from studio.core.facts import DeviceSample
from studio.core.units import GIB, MIB
from studio.gui.backend import Backend
from studio.gui.screens.devices.card import WINDOW_S, DeviceCard
from studio.gui.screens.devices.readings import NO_GPU, Reading, facts_text
from studio.gui.screens.devices.screen import DevicesScreen
from studio.service.accuracy import Accuracy, GroupAccuracy, Pair, RunAccuracy
from tests.gui.accessibility import nameless, too_wide
from tests.gui.fake_backend import CPU, GPU, FakeBackend
from tests.gui.run_writer import RunWriter

ACCURACY = Accuracy(
    runs=(
        RunAccuracy("run-1", "boolq-lora", "RTX 4090", "bf16", "lora", "simulated",
                    Pair(2.1 * GIB, 2.0 * GIB, 2.2 * GIB, 2.04 * GIB), Pair(400, 350, 450, 600), None),
        RunAccuracy("run-2", "imdb-bitfit", "RTX 4090", "bf16", "bitfit", "formula", None, Pair(400, 350, 450, 400),
                    Pair(10, 8, 13, 12)),
    ),
    groups=(GroupAccuracy("memory", "RTX 4090", "bf16", "lora", "simulated", 12, 0.021, -0.012, 0.92),),
)  # fmt: skip


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
    qtbot.waitUntil(lambda: list(screen.cards) == ["cpu"])


def test_that_each_device_is_followed_while_in_view(screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.device_list = [CPU, GPU]
    screen._timer.setInterval(30)
    screen.enter()
    qtbot.waitUntil(lambda: len(screen.cards) == 2 and len(screen.cards["cuda:0"]._series["power"]) > 3)
    gpu, cpu = screen.cards["cuda:0"], screen.cards["cpu"]
    assert gpu._figures["power"].text() == "310 W"
    assert gpu._others.text() == "3.00 GiB in other programs and the system  ·  process 4711: 2.00 GiB"
    assert cpu._figures["power"].text() == "–"
    assert not cpu._plots["power"].isVisible()
    assert not screen.no_gpu.isVisible()
    screen.leave()
    assert not screen._timer.isActive()


def test_that_what_runs_hold_is_told_from_what_others_hold(
    screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.held = 2 * GIB
    screen.enter()
    qtbot.waitUntil(lambda: len(screen.cards) == 2)
    words = screen.cards["cuda:0"]._others.text()
    assert words.startswith("2.00 GiB in runs of the studio  ·  1.00 GiB in other programs and the system")
    assert screen.cards["cpu"]._others.text() == "3.00 GiB in other programs and the system"


def test_that_the_memory_of_a_runs_worker_is_found(studio_home: Path) -> None:
    backend = Backend()
    writer = RunWriter(studio_home / "runs")
    writer.folder.worker.write_text(json.dumps({"pid": os.getpid()}))
    writer.state("starting")
    writer.state("running")
    backend.refresh_runs()
    assert backend.held_by_runs("cpu") > 10 * MIB
    writer.finish()
    backend.refresh_runs()
    assert backend.held_by_runs("cpu") == 0


def test_that_a_home_without_runs_has_nothing_to_compare(studio_home: Path) -> None:
    assert Backend().accuracy() == Accuracy()


def test_that_without_a_finished_run_the_page_says_what_will_be_here(screen: DevicesScreen, qtbot: QtBot) -> None:
    screen.enter()
    qtbot.waitUntil(lambda: screen.accuracy is not None and screen.accuracy.empty.isVisible())
    assert screen.accuracy is not None
    assert not screen.accuracy._runs_view.isVisible()


def test_that_forecasts_are_compared_with_what_runs_took(
    screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.accuracy_found = ACCURACY
    screen.enter()
    qtbot.waitUntil(lambda: screen.accuracy is not None and screen.accuracy.runs.rowCount() == 2)
    view = screen.accuracy
    assert view is not None
    assert not view.empty.isVisible()
    rows = [[view.runs.index(row, column).data() for column in range(5)] for row in range(2)]
    assert rows[0] == ["boolq-lora", "simulated", "2.04 GiB, −2.9%, inside", "10 min 00 s, +50%, outside", "–"]
    assert rows[1][2:] == ["–", "6 min 40 s, +0.0%, inside", "12 Wh, +20%, inside"]
    group = [view.groups.index(0, column).data() for column in range(9)]
    assert group == ["Memory", "RTX 4090", "bf16", "lora", "simulated", "12", "2.1%", "−1.2%", "92%"]
    view.runs.sort(3, Qt.SortOrder.DescendingOrder)
    assert view.runs.record(0).name == "boolq-lora"
    with qtbot.waitSignal(screen.navigate) as went:
        QTest.keyClick(view._runs_view, Qt.Key.Key_Down)
        QTest.keyClick(view._runs_view, Qt.Key.Key_Return)
    assert went.args == ["run", "run-1"]
    assert nameless(screen) == []
    assert too_wide(screen, screen.width()) == []


def test_that_figures_that_cannot_be_read_say_why(
    screen: DevicesScreen, backend: FakeBackend, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Accuracy:
        raise MachineError("the catalog is locked")

    monkeypatch.setattr(backend, "accuracy", fail)
    screen.enter()
    qtbot.waitUntil(lambda: screen.accuracy is not None and screen.accuracy.error.isVisible())
    assert screen.accuracy is not None
    assert screen.accuracy.error.message.text() == "The catalog is locked"
    assert not screen.accuracy.empty.isVisible()


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
