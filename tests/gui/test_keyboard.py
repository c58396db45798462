"""The whole way with the keyboard alone: from the welcome screen over New run to a run that is stopped."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from studio.gui.main_window import MainWindow
from studio.gui.screens.live.screen import RunScreen
from studio.gui.screens.new_run.screen import NewRunScreen
from studio.gui.theme import theme
from studio.gui.widgets.buttons import button, chip, icon_button
from studio.gui.widgets.layout import Fold
from tests.gui.accessibility import name
from tests.gui.fake_backend import FakeBackend
from tests.gui.run_writer import RunWriter, write_running

MOST_TABS = 120


class StartingBackend(FakeBackend):
    """Starting a run gives one that trains."""

    def __init__(self, runs: Path) -> None:
        super().__init__()
        self._runs = runs
        self.writer: RunWriter | None = None

    def start_run(self, raw: Mapping[str, Any]) -> str:
        super().start_run(raw)
        self.writer = write_running(RunWriter(self._runs), 40)
        return self.writer.folder.id


@pytest.fixture
def backend(studio_home: Path) -> Iterator[StartingBackend]:
    made = StartingBackend(studio_home / "runs")
    yield made
    if made.writer is not None:
        made.writer.release()


@pytest.fixture
def window(window_app: QApplication, qtbot: QtBot, backend: StartingBackend) -> MainWindow:
    made = MainWindow(backend)
    qtbot.addWidget(made)
    made.show_screen("first_run")
    made.show()
    qtbot.waitActive(made)
    return made


def focused() -> QWidget:
    popup = QApplication.activePopupWidget()
    widget = popup.focusWidget() if popup is not None else QApplication.focusWidget()
    assert widget is not None, "nothing has the focus"
    return widget


def press(key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(focused(), key, modifier)


def type_(text: str) -> None:
    QTest.keyClicks(focused(), text)


def tab_to(wanted: Callable[[QWidget], bool]) -> None:
    """Tab on until the wanted widget has the focus."""
    passed = []
    for _ in range(MOST_TABS):
        if wanted(focused()):
            return
        passed.append(name(focused()))
        press(Qt.Key.Key_Tab)
    raise AssertionError(f"Tab does not lead there; it passes {passed}")


def named(text: str) -> Callable[[QWidget], bool]:
    return lambda widget: name(widget).startswith(text)


def choose(window: MainWindow, caption: str, words: str, qtbot: QtBot) -> None:
    """Open a picker, search, take the first entry; the focus is back at the picker."""
    tab_to(named(caption))
    press(Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: QApplication.activePopupWidget() is not None)
    type_(words)
    press(Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: QApplication.activePopupWidget() is None)
    qtbot.wait(50)
    window.activateWindow()  # offscreen there is nobody else to give a closed popup's place back
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window)
    assert named(caption)(focused())
    assert isinstance(focused(), QPushButton)


def test_that_a_run_is_set_up_started_and_stopped_with_keys_alone(
    window: MainWindow, backend: StartingBackend, qtbot: QtBot
) -> None:
    tab_to(named("Skip"))
    press(Qt.Key.Key_Space)
    screen = window.current
    assert isinstance(screen, NewRunScreen)
    qtbot.waitUntil(screen.preflight.forecast.isVisible)
    choose(window, "Model", "smollm2", qtbot)
    choose(window, "Data", "boolq", qtbot)
    choose(window, "Method", "lora", qtbot)
    tab_to(named("Rank"))
    press(Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    type_("32")
    qtbot.waitUntil(lambda: screen.checker.is_settled and screen.preflight.start_button.isEnabled())
    tab_to(lambda widget: widget is screen.preflight.start_button)
    press(Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: isinstance(window.current, RunScreen))
    started = next(raw for call, raw in backend.calls if call == "start_run")
    assert started["method"]["placements"][0]["params"] == {"rank": 32}
    run = window.current
    assert isinstance(run, RunScreen)
    qtbot.waitUntil(run.stop.isVisible)
    tab_to(lambda widget: widget is run.stop)
    press(Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: backend.writer is not None and ("stop_run", backend.writer.folder.id) in backend.calls)


def test_that_tab_goes_through_new_run_as_one_reads(window: MainWindow, qtbot: QtBot) -> None:
    window.show_screen("new_run")
    screen = window.current
    assert isinstance(screen, NewRunScreen)
    qtbot.waitUntil(screen.preflight.forecast.isVisible)
    order = [screen.libraries.model.card, screen.libraries.data.card, screen.libraries.method.card]
    rows = screen.form.method.placements[0].params.rows
    order += [rows["rank"].editor, rows["alpha"].editor, screen.preflight.start_button]

    def check() -> None:
        chain: list[QWidget] = [screen]
        while (following := chain[-1].nextInFocusChain()) is not screen:
            chain.append(following)
        places = [chain.index(widget) for widget in order]
        assert places == sorted(places)

    qtbot.waitUntil(check)  # the order is set in the turn after the one that shows the forecast


@pytest.mark.parametrize("theme_name", ["light", "dark"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: button("Save"), lambda: button("Start", role="primary"), lambda: button("More", role="quiet"),
        lambda: chip("Failed"), lambda: icon_button("undo", "Undo"), lambda: Fold("Advanced").toggle, QLineEdit,
        QPlainTextEdit, QComboBox, lambda: QCheckBox("Yes"),
    ],
    ids=["button", "primary", "quiet", "chip", "icon", "fold", "line", "text", "choice", "check"],
)  # fmt: skip
def test_that_the_focus_is_seen(
    window_app: QApplication, qtbot: QtBot, make: Callable[[], QWidget], theme_name: str
) -> None:
    theme().apply(theme_name)
    holder, other = QWidget(), QPushButton("Other")
    qtbot.addWidget(holder)
    theme().dress(holder)
    made = make()
    made.setParent(holder)
    other.setParent(holder)
    other.move(0, 100)
    holder.resize(300, 200)
    holder.show()
    qtbot.waitActive(holder)
    other.setFocus()
    before = made.grab().toImage()
    made.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(made.hasFocus)
    ring = theme().color("text" if made.property("role") == "primary" else "accent")
    assert count(made.grab().toImage(), ring) > count(before, ring) + made.width()


def count(image: QImage, color: QColor) -> int:
    """How many pixels have this colour."""
    wanted = color.rgb()
    return sum(image.pixel(x, y) == wanted for x in range(image.width()) for y in range(image.height()))
