"""The application in our fonts and the light theme, without animations or a blinking caret."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from studio.gui.app import make_application
from studio.gui.tasks import task_hub
from studio.gui.theme import theme
from tests.gui.fake_backend import FakeBackend

OFFSCREEN_WARNINGS = (
    r"This plugin does not support propagateSizeHints\(\)",  # no window manager to tell them to
    r"This plugin does not support raise\(\)",
    r"This plugin does not support grabbing the keyboard",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Offscreen, Qt warns of things that a desktop does."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.qt_log_ignore(*OFFSCREEN_WARNINGS, extend=True))


@pytest.fixture(scope="session")
def qapp_args() -> list[str]:
    return ["pet-studio"]


@pytest.fixture
def window_app(qapp: QApplication, studio_home: object) -> Iterator[QApplication]:
    """The application, dressed; background work of the test is over when it ends."""
    make_application(["pet-studio"])
    qapp.setCursorFlashTime(0)
    theme().apply("light")
    yield qapp
    task_hub().shut_down()
    qapp.processEvents()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # else the next test restyles them too


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()
