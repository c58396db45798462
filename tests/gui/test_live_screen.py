"""The Run screen against recorded and growing event logs."""

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.core.errors import UserError
from studio.core.events import ArtifactWritten, EpochEnded, Failed, Measured
from studio.gui.screens.live.screen import RunScreen
from tests.gui.accessibility import clashing_mnemonics, nameless, too_wide
from tests.gui.fake_backend import FakeBackend
from tests.gui.heartbeat import Heartbeat
from tests.gui.run_writer import RunWriter, write_running

PAUSE_LIMIT_MS = 50
RATE_PER_S = 50


class RunBackend(FakeBackend):
    """Sends wishes nowhere, and remembers them."""

    def pause_run(self, run_id: str) -> None:
        self.calls.append(("pause_run", run_id))

    def save_run(self, run_id: str) -> None:
        self.calls.append(("save_run", run_id))

    def resume_run(self, run_id: str) -> None:
        self.calls.append(("resume_run", run_id))


@pytest.fixture
def writer(studio_home: Path) -> Iterator[RunWriter]:
    made = RunWriter(studio_home / "runs")
    yield made
    made.release()


@pytest.fixture
def screen(qtbot: QtBot, window_app: QApplication) -> Iterator[RunScreen]:
    made = RunScreen(RunBackend())
    qtbot.addWidget(made)
    made.resize(1100, 740)
    made.show()
    yield made
    made.leave()


def open_run(screen: RunScreen, writer: RunWriter, qtbot: QtBot, state: str) -> None:
    screen.enter(writer.folder.id)
    qtbot.waitUntil(lambda: screen.view.state == state and screen.pages.currentIndex() == 1, timeout=5000)


def test_that_without_a_run_the_screen_says_how_to_get_one(screen: RunScreen, qtbot: QtBot) -> None:
    screen.enter()
    assert screen.pages.currentWidget() is screen.empty
    with qtbot.waitSignal(screen.navigate) as asked:
        screen.empty.action.click()
    assert asked.args == ["new_run", None]


def test_that_a_reopened_run_shows_everything_since_its_start(
    screen: RunScreen, writer: RunWriter, qtbot: QtBot
) -> None:
    write_running(writer, 340)
    open_run(screen, writer, qtbot, "running")
    qtbot.waitUntil(lambda: screen.view.snapshot.step == 340)
    assert len(screen.view.curves.loss) == 340
    header = screen.view.header
    assert header.state.word == "Running"
    assert header._figures["step"].text() == "340 / 600"
    assert header.bar.value() == round(1000 * 340 / 600)
    assert header._figures["remaining"].text() != "–"
    loss = screen.view.charts.loss
    loss.draw()
    assert loss.canvas is not None
    assert loss.canvas.curves["raw"].item.getData()[0][-1] == 340


def test_that_a_plan_of_another_version_costs_only_the_plans_own_tab(
    screen: RunScreen, studio_home: Path, qtbot: QtBot
) -> None:
    writer = RunWriter(studio_home / "runs", "20261124-070000-older-0001", field_of_the_future=1)
    write_running(writer, 100)
    with qtbot.waitSignal(screen.noted) as noted:
        screen.enter(writer.folder.id)
    assert "another version" in noted.args[0]
    qtbot.waitUntil(lambda: screen.view.header._figures["step"].text() == "100 / 600")
    writer.release()


def test_that_new_events_arrive_by_themselves(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    writer.state("running")
    open_run(screen, writer, qtbot, "running")
    writer.steps(1, 20)
    qtbot.waitUntil(lambda: screen.view.snapshot.step == 20)
    writer.finish()
    qtbot.waitUntil(lambda: screen.view.state == "completed")
    assert not screen.stop.isVisible()
    assert not screen.resume.isVisible()


def test_that_the_buttons_follow_the_state(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    writer.state("running")
    open_run(screen, writer, qtbot, "running")
    qtbot.waitUntil(screen.pause.isVisible)
    assert screen.save.isVisible()
    assert screen.stop.isVisible()
    assert not screen.resume.isVisible()
    screen.pause.click()
    qtbot.waitUntil(lambda: ("pause_run", writer.folder.id) in screen.backend.calls)
    writer.state("paused")
    qtbot.waitUntil(screen.resume.isVisible)
    assert not screen.pause.isVisible()
    screen.resume.click()
    qtbot.waitUntil(lambda: ("resume_run", writer.folder.id) in screen.backend.calls)


def test_that_a_failed_run_shows_what_where_and_what_to_do(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    writer.folder.stderr.write_text("Traceback\nRuntimeError: out of memory\n")
    writer.state("running")
    writer.add(Failed(1.0, "MachineError", "the device is full", "lower train.micro_batch", "step 12"))
    writer.state("failed")
    open_run(screen, writer, qtbot, "failed")
    card = screen.view.error
    qtbot.waitUntil(card.isVisible)
    texts = (card.message.text(), card.where.text(), card.hint.text())
    assert texts == ("The device is full", "step 12", "Lower train.micro_batch")
    assert card.details.text().endswith("RuntimeError: out of memory")
    assert screen.resume.isVisible()


def test_that_a_killed_worker_is_seen_as_a_crash(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    writer.state("running")
    writer.steps(1, 3)
    open_run(screen, writer, qtbot, "running")
    writer.release()
    qtbot.waitUntil(lambda: screen.view.state == "crashed", timeout=5000)
    qtbot.waitUntil(screen.view.error.isVisible)
    assert screen.resume.isVisible()


def test_that_a_run_that_is_gone_is_an_error_at_its_place(screen: RunScreen, qtbot: QtBot) -> None:
    screen.enter("20200101-000000-gone-0000")
    qtbot.waitUntil(screen.problem.isVisible)
    assert "no run" in screen.problem.message.text()


def test_that_a_device_without_meters_says_so(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    writer.state("running")
    writer.steps(1, 5, device=False)
    open_run(screen, writer, qtbot, "running")
    charts = screen.view.charts
    assert charts._no_meter.isVisible()
    assert not charts.power.isVisible()
    writer.steps(6, 8)
    qtbot.waitUntil(charts.power.isVisible)
    assert not charts._no_meter.isVisible()


def test_that_memory_above_its_forecast_is_told(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    write_running(writer, 20)
    open_run(screen, writer, qtbot, "running")
    charts = screen.view.charts
    qtbot.waitUntil(lambda: "limit 24.0 GiB" in charts.memory.accessibleDescription())
    assert not charts.off_forecast.isVisible()
    reading = writer.reading(21)
    reading.sample["process_bytes"] = 3 * 1024**3
    writer.add(reading)
    qtbot.waitUntil(charts.off_forecast.isVisible)
    assert charts.off_forecast.text.text() == "above the forecast: 3.00 GiB at its peak"


def test_that_other_programs_memory_is_not_taken_for_the_runs(
    screen: RunScreen, writer: RunWriter, qtbot: QtBot
) -> None:
    writer.state("running")
    reading = writer.reading(2)
    del reading.sample["process_bytes"]
    reading.sample["used_bytes"] = 9 * 1024**3
    writer.add(reading)
    open_run(screen, writer, qtbot, "running")
    qtbot.waitUntil(lambda: len(screen.view.curves.get("used_bytes")) == 1)
    assert not screen.view.charts.off_forecast.isVisible()


def test_that_energy_is_told_by_epoch_and_with_its_meter(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    write_running(writer, 20)
    open_run(screen, writer, qtbot, "running")
    charts = screen.view.charts
    qtbot.waitUntil(lambda: charts.power._readout.text() == "energy counter")
    writer.add(EpochEnded(writer.clock, 1, 20, 12.0, 62_400, 3.21))
    qtbot.waitUntil(lambda: charts.power._readout.text() == "epoch 1: 3.2 Wh")
    assert not charts.shared.isVisible()
    writer.add(Measured(writer.clock, 2 * 1024**3, 12.0, 0.6, 5000.0, 3.4, "energy counter", 0.0, True))
    qtbot.waitUntil(charts.shared.isVisible)


def test_that_smoothing_leaves_the_raw_curve_as_it_is(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    write_running(writer, 100)
    open_run(screen, writer, qtbot, "running")
    qtbot.waitUntil(lambda: screen.view.snapshot.step == 100)
    raw = screen.view.charts.loss._curves["raw"].y.copy()
    screen.view.charts.smoothing_changed.emit(0.0)
    curves = screen.view.charts.loss._curves
    assert (curves["raw"].y == raw).all()
    assert (curves["smooth"].y == raw).all()


def test_that_every_tab_shows_its_part_of_the_run(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    write_running(writer, 200)
    open_run(screen, writer, qtbot, "running")
    qtbot.waitUntil(lambda: screen.view.snapshot.step == 200)
    view = screen.view
    for tab in range(view.tabs.count()):
        view.tabs.setCurrentIndex(tab)
    assert view.samples._choice.currentText() == "200"
    assert [change.name for change in view.evals._changes.records()] == ["loss", "accuracy"]
    assert "460,800" in view.log.text.toPlainText()
    assert next(auto.field for auto in view.plan._autos.records()) == "train.micro_batch"
    assert [file.name for file in view.files.model.records()] == ["checkpoint 200", "checkpoint 100"]


def test_that_a_result_can_be_taken_away_once_there_is_one(
    screen: RunScreen, writer: RunWriter, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, Path]] = []

    def export(run_id: str, form: str, out: Path) -> str:
        asked.append((run_id, form, out))
        if form == "peft":
            raise UserError("peft has no format for this run's method", where=run_id)
        return "The merged model is there"

    monkeypatch.setattr(screen.backend, "export_run", export, raising=False)
    write_running(writer, 100)
    open_run(screen, writer, qtbot, "running")
    files = screen.view.files
    screen.view.tabs.setCurrentWidget(files)
    assert not files.merged.isEnabled()
    writer.add(ArtifactWritten(time.time(), "adapter", "artifacts/adapter", 1000))
    qtbot.waitUntil(files.merged.isEnabled)
    with qtbot.waitSignal(screen.noted, check_params_cb=lambda text: text == "The merged model is there"):
        screen.export("merged", tmp_path)
    screen.export("peft", tmp_path)
    qtbot.waitUntil(lambda: "no format" in screen.view.error.message.text())
    assert asked == [(writer.folder.id, form, tmp_path / f"{writer.folder.id}-{form}") for form in ("merged", "peft")]


def test_that_the_log_follows_the_workers_output(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    writer.state("running")
    writer.folder.stderr.write_text("first\n")
    open_run(screen, writer, qtbot, "running")
    screen.view.tabs.setCurrentWidget(screen.view.log)
    screen.view.log.choose("stderr")
    qtbot.waitUntil(lambda: "first" in screen.view.log.text.toPlainText())
    writer.folder.stderr.write_text("first\nsecond\n")
    qtbot.waitUntil(lambda: "second" in screen.view.log.text.toPlainText(), timeout=5000)


def test_that_a_change_of_state_is_announced(
    screen: RunScreen, writer: RunWriter, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(QAccessible, "updateAccessibility", lambda event: said.append(event.message()))
    writer.state("running")
    open_run(screen, writer, qtbot, "running")
    writer.state("paused")
    qtbot.waitUntil(lambda: screen.view.state == "paused")
    assert said[-1] == "Run boolq-lora: Paused"


def test_that_nothing_is_repainted_while_nothing_changes(screen: RunScreen, writer: RunWriter, qtbot: QtBot) -> None:
    write_running(writer, 100)
    writer.finish()
    open_run(screen, writer, qtbot, "completed")
    qtbot.waitUntil(lambda: all(plot.canvas is not None or plot.isHidden() for plot in screen.view.charts.plots))
    qtbot.wait(300)
    paints: list[str] = []
    for plot in screen.view.charts.plots:
        assert plot.canvas is not None
        plot.canvas.view.sigRangeChanged.connect(lambda *_, title=plot.title: paints.append(title))
    before = screen.grab().toImage()
    qtbot.wait(600)
    assert paints == []
    assert screen.grab().toImage() == before


def test_that_the_keyboard_and_a_screen_reader_reach_everything(
    screen: RunScreen, writer: RunWriter, qtbot: QtBot
) -> None:
    write_running(writer, 100)
    open_run(screen, writer, qtbot, "running")
    for tab in range(screen.view.tabs.count()):
        screen.view.tabs.setCurrentIndex(tab)
        assert nameless(screen) == []
        assert clashing_mnemonics(screen) == []
        assert too_wide(screen, screen.width()) == []


@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_that_fifty_events_a_second_never_block_the_window(
    screen: RunScreen, writer: RunWriter, qtbot: QtBot, seconds: int
) -> None:
    write_running(writer, 300)
    open_run(screen, writer, qtbot, "running")
    qtbot.waitUntil(lambda: screen.view.snapshot.step == 300)
    qtbot.wait(300)
    gc.freeze()  # as the window does: a collection among all that the tests imported would be a pause
    pauses = Heartbeat(screen)
    stopped = threading.Event()
    thread = threading.Thread(target=_stream, args=(writer, stopped, 301))
    thread.start()
    try:
        qtbot.wait(seconds * 1000)
    finally:
        stopped.set()
        thread.join()
        gc.unfreeze()
    assert screen.view.snapshot.step > 300 + seconds * RATE_PER_S * 0.7
    assert pauses.longest_ms() <= PAUSE_LIMIT_MS, pauses.report()


def _stream(writer: RunWriter, stopped: threading.Event, step: int) -> None:
    due = time.monotonic()
    while not stopped.is_set():
        writer.add(writer.metrics(step, 10_000))
        if step % 50 == 0:
            writer.add(writer.reading(step))
        step += 1
        due += 1 / RATE_PER_S
        time.sleep(max(0.0, due - time.monotonic()))
