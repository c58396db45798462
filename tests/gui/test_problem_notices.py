"""Entries that cannot be read are named on their screens, with the remedy."""

import pytest
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from studio.core.problems import Problem
from studio.gui.screens.registry import entry
from studio.gui.widgets.notices import ProblemNotices
from tests.gui.fake_backend import FakeBackend


@pytest.mark.parametrize("screen_id", ["models", "data"])
def test_that_a_damaged_entry_is_named_with_what_to_do(
    window_app: QApplication, qtbot: QtBot, backend: FakeBackend, screen_id: str
) -> None:
    backend.problem_list = [Problem("models/old/model.json", "is damaged", "remove the folder and add the model again")]
    screen = entry(screen_id).begin(backend)
    screen.complete()
    qtbot.addWidget(screen)
    screen.resize(1100, 700)
    screen.show()
    screen.enter()
    notices = screen.findChild(ProblemNotices)
    assert isinstance(notices, ProblemNotices)
    qtbot.waitUntil(notices.isVisible)
    words = [label.text() for label in notices.findChildren(QLabel)]
    assert "models/old/model.json: is damaged. Remove the folder and add the model again" in words
    backend.problem_list = []
    screen.enter()
    qtbot.waitUntil(lambda: not notices.isVisible())


def test_that_many_problems_leave_room_for_the_list(window_app: QApplication, qtbot: QtBot) -> None:
    notices = ProblemNotices()
    qtbot.addWidget(notices)
    notices.show_problems([Problem(f"models/{number}", "is damaged") for number in range(30)])
    words = [label.text() for label in notices.findChildren(QLabel) if label.text()]
    assert len(words) == ProblemNotices.MOST + 1
    assert words[-1] == "26 more entries have problems"
