"""The Models screen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from studio.core.errors import UserError
from studio.core.facts import ModelFacts
from studio.gui.screens.models.screen import ModelsScreen
from studio.gui.screens.models.tables import role_lines
from tests.gui.accessibility import clashing_mnemonics, nameless, too_wide
from tests.gui.fake_backend import ENCODER, MODEL, FakeBackend, llama_sites


class Refusing(FakeBackend):
    """Adds nothing."""

    def add_model(self, path: Path, *, progress: object, cancelled: object) -> ModelFacts:
        raise UserError("the folder has no config.json", where=str(path), hint="choose a model's own folder")


@pytest.fixture
def screen(qtbot: QtBot, window_app: QApplication, backend: FakeBackend) -> Iterator[ModelsScreen]:
    backend.model_list = [MODEL, ENCODER]
    made = ModelsScreen(backend)
    qtbot.addWidget(made)
    made.resize(1100, 740)
    made.show()
    made.enter("minilm-l6")
    qtbot.waitUntil(lambda: made.model.rowCount() == 2)
    return made


def test_that_an_empty_library_says_how_to_fill_it(qtbot: QtBot, window_app: QApplication) -> None:
    backend = FakeBackend()
    backend.model_list = []
    made = ModelsScreen(backend)
    qtbot.addWidget(made)
    made.show()
    made.enter()
    qtbot.waitUntil(lambda: made.lists.currentWidget() is made.empty)
    assert not made.use.isEnabled()


def test_that_the_asked_for_model_is_chosen_and_inspected(screen: ModelsScreen, qtbot: QtBot) -> None:
    assert screen.panel.heading.text() == "minilm-l6"
    qtbot.waitUntil(lambda: screen.panel.roles.rowCount() > 0)
    assert {line.role for line in screen.panel.roles.records()} == {"q", "k", "v", "o", "gate", "up", "down"}


def test_that_search_narrows_the_list(screen: ModelsScreen, qtbot: QtBot) -> None:
    screen.search.setText("bert")
    qtbot.waitUntil(lambda: [facts.name for facts in screen.model.records()] == ["minilm-l6"])
    screen.search.setText("xyz")
    qtbot.waitUntil(lambda: screen.lists.currentWidget() is screen.nothing)


def test_that_a_dropped_folder_is_added_and_chosen(screen: ModelsScreen, qtbot: QtBot) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile("/models/fresh")])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    screen.dropEvent(QDropEvent(QPointF(5, 5), copy, data, left, none))
    qtbot.waitUntil(lambda: screen.panel.heading.text() == "fresh")


def test_that_a_refusal_is_shown_where_it_happened(qtbot: QtBot, window_app: QApplication) -> None:
    made = ModelsScreen(Refusing())
    qtbot.addWidget(made)
    made.show()
    made.add("/models/none")
    qtbot.waitUntil(made.error.isVisible)
    assert made.error.message.text() == "The folder has no config.json"
    assert not made.progress.isVisible()


def test_that_a_download_shows_progress_and_can_be_cancelled(
    screen: ModelsScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.endless_download = True
    screen.hub.show()
    screen.hub.repo.setText("org/small")
    screen.hub._go()
    qtbot.waitUntil(screen.progress.isVisible, timeout=3000)
    qtbot.waitUntil(screen.progress.cancel.isVisible, timeout=4000)
    with qtbot.waitSignal(screen.noted) as noted:
        screen.progress.cancel.click()
    assert noted.args == ["Cancelled"]
    assert not screen.progress.isVisible()


def test_that_a_name_that_is_no_repository_is_refused_at_the_field(screen: ModelsScreen) -> None:
    screen.hub.show()
    screen.hub.repo.setText("just-a-name")
    screen.hub._go()
    assert screen.hub.problem.isVisible()
    assert not any(call[0] == "download_model" for call in screen.backend.calls)


def test_that_removing_asks_first(screen: ModelsScreen, qtbot: QtBot) -> None:
    screen.remove.click()
    (box,) = screen.findChildren(QMessageBox)
    assert screen.model.rowCount() == 2
    box.buttons()[0].click()
    qtbot.waitUntil(lambda: [facts.name for facts in screen.model.records()] == ["smollm2-135m-instruct"])


def test_that_use_presets_a_new_run(screen: ModelsScreen, qtbot: QtBot) -> None:
    with qtbot.waitSignal(screen.navigate) as asked:
        screen.use.click()
    assert asked.args == ["new_run", {"model": {"source": "library:minilm-l6"}}]


def test_that_the_keyboard_and_a_screen_reader_reach_everything(screen: ModelsScreen, qtbot: QtBot) -> None:
    screen.hub.show()
    QApplication.processEvents()
    assert nameless(screen) == []
    assert clashing_mnemonics(screen) == []
    assert too_wide(screen, screen.width()) == []


def test_that_sites_are_summed_up_by_role() -> None:
    lines = {line.role: line for line in role_lines(llama_sites(4))}
    assert (lines["q"].sites, lines["q"].params, lines["k"].shapes) == (4, 4 * 576 * 576, "192 × 576")
