"""The main window: screens, commands, palette, closing, and what it must not load."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QMimeData, QObject, QPointF, Qt, QUrl
from PySide6.QtGui import QAccessible, QDropEvent, QFont
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from studio.core.errors import BugError, Cancelled, StudioError, UserError
from studio.gui.actions import Command, Commands
from studio.gui.main_window import MainWindow
from studio.gui.palette import find_commands
from studio.gui.screens.base import Screen
from studio.gui.screens.new_run.screen import NewRunScreen
from studio.gui.screens.registry import FIRST_RUN, SCREENS
from studio.gui.tasks import run_task, task_hub
from tests.gui.fake_backend import FakeBackend

ALL = tuple(entry.id for entry in (*SCREENS, FIRST_RUN))


@pytest.fixture
def window(window_app: QApplication, qtbot: QtBot, backend: FakeBackend) -> MainWindow:
    made = MainWindow(backend)
    qtbot.addWidget(made, before_close_func=lambda it: setattr(it, "_may_close", True))
    made.show_screen("new_run")
    made.show()
    return made


def test_that_importing_the_window_loads_nothing_heavy() -> None:
    code = (
        "import sys, studio.gui.app, studio.gui.screens.new_run.screen\n"
        "print([m for m in ('torch', 'transformers', 'peft', 'pyqtgraph', 'peewee', 'pyarrow', 'tokenizers')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_that_the_first_paint_comes_within_a_second(tmp_path: Path) -> None:
    code = (
        "import time; start = time.perf_counter()\n"
        "from studio.gui.app import make_application, open_window\n"
        "from studio.gui.backend import Backend\n"
        "app = make_application(['x']); window = open_window(Backend()); app.processEvents()\n"
        "print(time.perf_counter() - start)"
    )
    times = []
    for _ in range(3):  # the machine may be busy with something else once
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(float(done.stdout.strip().splitlines()[-1]))
        if times[-1] < 1.0:
            break
    assert min(times) < 1.0, times


def test_that_only_the_visited_screen_is_built(window: MainWindow) -> None:
    assert window.stack.count() == 1
    window.rail.buttons["settings"].click()
    assert window.stack.count() == 2
    assert window.current is not None
    assert window.current.id == "settings"


def test_that_only_the_chosen_screen_is_named_in_bold(window: MainWindow) -> None:
    window.show()
    others = [button for button in window.rail.buttons.values() if not button.isChecked()]
    assert {button.font().weight() for button in others} == {QFont.Weight.Normal}


def test_that_the_other_screens_are_built_meanwhile_and_each_once(window: MainWindow, qtbot: QtBot) -> None:
    window.start_background_work()
    qtbot.waitUntil(lambda: window.stack.count() > 1)
    window.show_screen("runs")  # before its turn
    qtbot.waitUntil(lambda: not window._piecework.isActive() and window.stack.count() == len(SCREENS))
    built = [window.stack.widget(place) for place in range(len(SCREENS))]
    assert {screen.id for screen in built if isinstance(screen, Screen)} == {entry.id for entry in SCREENS}
    assert not any(screen.build_piece() for screen in built if isinstance(screen, Screen))
    assert window.current is not None
    assert window.current.id == "runs"


def test_that_a_screen_that_failed_to_build_is_begun_anew(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch, backend: FakeBackend
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(backend, "load_settings", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            window.show_screen("settings")
    assert window.stack.count() == 1
    window.show_screen("settings")
    assert window.current is not None
    assert window.current.id == "settings"


def test_that_the_keyboard_begins_new_run_at_the_model(window: MainWindow) -> None:
    window.show_screen("settings")
    window.show_screen("new_run")
    screen = window.current
    assert isinstance(screen, NewRunScreen)
    assert window.focusWidget() is screen.libraries.model.card


def test_that_every_screen_of_the_rail_can_be_built(window: MainWindow) -> None:
    for entry in (*SCREENS, FIRST_RUN):
        made = entry.begin(window.backend)
        made.complete()
        assert isinstance(made, Screen)
        assert made.id == entry.id
        made.deleteLater()


def test_that_every_screen_has_a_shortcut_and_a_command(window: MainWindow) -> None:
    commands = {command.id: command for command in window.commands.all()}
    for number, entry in enumerate(SCREENS, start=1):
        assert commands[f"go_{entry.id}"].shortcut == f"Ctrl+{number}"
    shortcuts = [command.shortcut for command in commands.values() if command.shortcut]
    assert len(shortcuts) == len(set(shortcuts))


def test_that_the_shortcut_shows_its_screen(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitExposed(window)
    window.activateWindow()
    QTest.qWaitForWindowActive(window)
    QTest.keyClick(window, Qt.Key.Key_8, Qt.KeyboardModifier.ControlModifier)
    assert window.current is not None
    assert window.current.id == "settings"


def test_that_the_palette_runs_what_was_typed(window: MainWindow, qtbot: QtBot) -> None:
    window.palette_popup.open()
    QTest.keyClicks(window.palette_popup.field, "go to sett")
    QTest.keyClick(window.palette_popup.field, Qt.Key.Key_Return)
    assert window.current is not None
    assert window.current.id == "settings"
    assert not window.palette_popup.isVisible()


def test_that_the_palette_finds_by_all_words_and_leaves_out_disabled(window_app: QApplication) -> None:
    commands = [
        Command("a", "Open spec", lambda: None),
        Command("b", "Reopen the spec", lambda: None),
        Command("c", "Open spec now", lambda: None, enabled=lambda: False),
    ]
    assert [command.id for command in find_commands(commands, "open spec")] == ["a", "b"]
    assert find_commands(commands, "nothing") == []


def test_that_a_command_cannot_be_registered_twice(window_app: QApplication, qtbot: QtBot) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    commands = Commands(widget)
    commands.add(Command("x", "X", lambda: None))
    with pytest.raises(ValueError, match="twice"):
        commands.add(Command("x", "X", lambda: None))


def test_that_the_status_line_tells_devices_and_runs(window: MainWindow, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.running = ["a", "b"]
    window.start_background_work()
    qtbot.waitUntil(lambda: "2 runs" in window.runs_note.text())
    qtbot.waitUntil(lambda: "RTX 4090" in window.device_note.text())


def test_that_closing_with_live_runs_asks_and_keeps_running_by_default(
    window: MainWindow, backend: FakeBackend, qtbot: QtBot
) -> None:
    window._show_active_runs(["run-1"])
    assert not window.close()
    box = window.findChild(QMessageBox)
    assert box is not None
    assert box.defaultButton().text() == "Keep running"
    assert [button.text() for button in box.buttons()] == ["Keep running", "Stop and save", "Cancel"]
    box.defaultButton().click()
    qtbot.waitUntil(lambda: not window.isVisible())
    assert ("stop_run", "run-1") not in backend.calls


def test_that_stop_and_save_stops_the_runs_then_closes(window: MainWindow, backend: FakeBackend, qtbot: QtBot) -> None:
    window._show_active_runs(["run-1", "run-2"])
    window.close()
    box = window.findChild(QMessageBox)
    assert box is not None
    next(button for button in box.buttons() if button.text() == "Stop and save").click()
    qtbot.waitUntil(lambda: not window.isVisible())
    assert [call for call in backend.calls if call[0] == "stop_run"] == [("stop_run", "run-1"), ("stop_run", "run-2")]


def test_that_a_broken_catalog_is_told_once(
    window: MainWindow, backend: FakeBackend, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> list[str]:
        raise UserError("the catalog was written by a newer studio")

    monkeypatch.setattr(backend, "active_runs", fail)
    window.start_background_work()
    qtbot.waitUntil(lambda: "cannot be read" in window.runs_note.text())
    assert not window._pulse.isActive()
    assert len(window.findChildren(QMessageBox)) == 1


def test_that_an_error_nobody_handles_is_shown(window: MainWindow, qtbot: QtBot) -> None:
    def fail() -> None:
        raise UserError("the file is empty", where="data.jsonl:1", hint="add rows")

    run_task(window, fail)
    qtbot.waitUntil(lambda: window.findChild(QMessageBox) is not None)
    box = window.findChild(QMessageBox)
    assert box is not None
    assert "the file is empty" in box.text()
    assert box.informativeText() == "add rows"


def test_that_a_spec_dropped_on_the_window_opens_in_the_form(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(window, "open_spec", opened.append)
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "mine.yaml"))])
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)
    assert opened == [str(tmp_path / "mine.yaml")]


def test_that_the_window_comes_back_where_it_was(window_app: QApplication, qtbot: QtBot, backend: FakeBackend) -> None:
    first = MainWindow(backend)
    first.resize(760, 640)
    first.show()
    first.close()
    second = MainWindow(backend)
    qtbot.addWidget(second)
    assert (second.width(), second.height()) == (760, 640)


@pytest.mark.parametrize("screen_id", ALL)
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_that_no_screen_scrolls_sideways_at_1280(
    window: MainWindow, qtbot: QtBot, screen_id: str, scale: float
) -> None:
    from PySide6.QtWidgets import QScrollArea

    from studio.gui.theme import theme

    theme().apply("light", scale)
    window.resize(1280, 800)
    window.show_screen(screen_id)
    qtbot.wait(400)
    assert window.width() == 1280
    assert window.current is not None
    for area in window.current.findChildren(QScrollArea):
        if area.isVisible():
            assert area.widget().width() <= area.viewport().width(), area.accessibleName()


@pytest.mark.parametrize("screen_id", ALL)
def test_that_everything_focusable_has_a_name(window: MainWindow, qtbot: QtBot, screen_id: str) -> None:
    window.show_screen(screen_id)
    qtbot.wait(300)
    assert window.current is not None
    nameless = [
        f"{type(widget).__name__} in {type(widget.parentWidget()).__name__}"
        for widget in window.current.findChildren(QWidget)
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.isVisible() and not _accessible_name(widget)
    ]
    assert not nameless


def test_that_building_screens_never_shows_another_window(window: MainWindow, qtbot: QtBot) -> None:
    """A part that is made visible before it is put somewhere is a window for a moment, and takes the focus."""
    others: list[str] = []

    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
                others.append(type(watched).__name__)
            return False

    watch = Watch()
    app = QApplication.instance()
    assert app is not None
    app.installEventFilter(watch)
    for screen_id in ALL:
        window.show_screen(screen_id)
        qtbot.wait(200)
    app.removeEventFilter(watch)
    assert others == []


def test_that_tab_reaches_every_field_of_the_form(window: MainWindow, qtbot: QtBot) -> None:
    window.show_screen("settings")
    window.activateWindow()
    qtbot.wait(300)
    assert window.current is not None
    reachable = set()
    widget: QWidget = window.current
    for _ in range(400):
        widget = widget.nextInFocusChain()
        reachable.add(widget)
    for field in window.current.findChildren(QWidget):
        if field.focusPolicy() & Qt.FocusPolicy.TabFocus and field.isVisible():
            assert field in reachable


def test_that_results_arrive_in_the_ui_thread(window_app: QApplication, qtbot: QtBot) -> None:
    from threading import get_ident

    owner = QObject()
    threads: list[int] = []
    run_task(owner, get_ident, done=lambda worker: threads.extend([worker, get_ident()]))
    qtbot.waitUntil(lambda: len(threads) == 2)
    assert threads[0] != threads[1] == get_ident()


def test_that_a_result_is_dropped_when_its_owner_is_gone(window_app: QApplication, qtbot: QtBot) -> None:
    owner, other, arrived = QObject(), QObject(), []
    run_task(owner, time.sleep, 0.1, done=lambda _none: arrived.append("owner"))
    import shiboken6

    shiboken6.delete(owner)
    run_task(other, time.sleep, 0.15, done=lambda _none: arrived.append("other"))
    qtbot.waitUntil(lambda: arrived == ["other"])
    assert not task_hub().running


def test_that_a_cancelled_task_tells_only_that_it_was_cancelled(window_app: QApplication, qtbot: QtBot) -> None:
    owner, seen = QObject(), []

    def work(*, progress, cancelled):  # type: ignore[no-untyped-def]
        progress("working", 0.5)
        while not cancelled():
            time.sleep(0.005)
        raise Cancelled

    task = run_task(owner, work, done=seen.append, failed=seen.append, progress=lambda *said: seen.append(said))
    qtbot.waitUntil(lambda: seen == [("working", 0.5)])
    task.cancel()
    qtbot.waitUntil(lambda: len(seen) == 2)
    assert isinstance(seen[1], Cancelled)


def test_that_cancelled_work_that_finished_all_the_same_counts_as_cancelled(
    window_app: QApplication, qtbot: QtBot
) -> None:
    owner, seen = QObject(), []
    task = run_task(owner, time.sleep, 0.1, done=lambda _none: seen.append("done"), failed=seen.append)
    task.cancel()
    qtbot.waitUntil(lambda: bool(seen))
    assert isinstance(seen[0], Cancelled)


def test_that_an_unexpected_error_becomes_a_bug_and_is_logged(
    window_app: QApplication, qtbot: QtBot, caplog: pytest.LogCaptureFixture
) -> None:
    owner: QObject = QObject()
    seen: list[StudioError] = []
    run_task(owner, lambda: 1 / 0, failed=seen.append)
    qtbot.waitUntil(lambda: bool(seen))
    assert isinstance(seen[0], BugError)
    assert "division" in seen[0].message
    assert "background work failed" in caplog.text
    caplog.clear()


def _accessible_name(widget: QWidget) -> str:
    interface = QAccessible.queryAccessibleInterface(widget)
    return interface.text(QAccessible.Text.Name) if interface is not None else ""
