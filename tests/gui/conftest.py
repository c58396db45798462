"""The application in our fonts and the light theme, without animations or a blinking caret."""

from collections.abc import Iterator

import pytest
from tests.gui.fake_backend import FakeBackend
from PySide6.QtWidgets import QApplication

from studio.gui.app import make_application
from studio.gui.tasks import task_hub
from studio.gui.theme import theme


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


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()
