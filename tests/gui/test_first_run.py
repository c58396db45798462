"""The welcome screen: from nothing to a run with one button."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.core.errors import MachineError
from studio.gui.app import open_window
from studio.gui.main_window import MainWindow
from studio.gui.screens.first_run.screen import FirstRunScreen
from tests.gui.fake_backend import FakeBackend


@pytest.fixture
def screen(window_app: QApplication, qtbot: QtBot, backend: FakeBackend) -> FirstRunScreen:
    made = FirstRunScreen(backend)
    qtbot.addWidget(made)
    made.show()
    made.enter()
    return made


def test_that_the_button_fetches_starts_and_goes_to_the_run(
    screen: FirstRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    with qtbot.waitSignal(screen.navigate) as went:
        screen.begin.click()
    assert went.args == ["run", "20261124-063100-run-4f2a"]
    assert [name for name, _ in backend.calls] == ["fetch_starter", "start_run"]


def test_that_return_presses_the_button_too(screen: FirstRunScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    with qtbot.waitSignal(screen.navigate):
        qtbot.keyClick(screen.begin, Qt.Key.Key_Return)
    assert "start_run" in [name for name, _ in backend.calls]


def test_that_a_failed_fetch_is_explained_and_can_be_repeated(
    screen: FirstRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.starter_error = MachineError("the index did not answer", hint="use an offline folder")
    screen.begin.click()
    qtbot.waitUntil(screen.error.isVisible)
    assert screen.error.hint.text() == "Use an offline folder"
    assert screen.begin.isEnabled()
    assert not screen.progress.isVisible()


def test_that_a_cancelled_fetch_leaves_no_error(screen: FirstRunScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    import time

    from studio.core.errors import Cancelled

    def fetch(*, progress, cancelled):  # type: ignore[no-untyped-def]
        progress("downloading", 0.1)
        while not cancelled():
            time.sleep(0.005)
        raise Cancelled

    backend.fetch_starter = fetch  # type: ignore[method-assign]
    screen.begin.click()
    qtbot.waitUntil(screen.progress.isVisible)
    qtbot.waitUntil(screen.progress.cancel.isVisible)
    screen.progress.cancel.click()
    qtbot.waitUntil(screen.begin.isEnabled)
    assert not screen.error.isVisible()


def test_that_skip_goes_to_the_form(screen: FirstRunScreen, qtbot: QtBot) -> None:
    with qtbot.waitSignal(screen.navigate) as went:
        screen.skip.click()
    assert went.args == ["new_run", None]


def test_that_an_empty_home_opens_on_welcome(window_app: QApplication, qtbot: QtBot, backend: FakeBackend) -> None:
    window: MainWindow = open_window(backend)
    qtbot.addWidget(window)
    assert window.current is not None
    assert window.current.id == "first_run"


def test_that_a_home_with_a_model_opens_on_the_form(
    window_app: QApplication, qtbot: QtBot, backend: FakeBackend
) -> None:
    (backend.home().models / "mine").mkdir(parents=True)
    window = open_window(backend)
    qtbot.addWidget(window)
    assert window.current is not None
    assert window.current.id == "new_run"
