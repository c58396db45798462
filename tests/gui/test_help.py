"""The help: a page for every screen, links and pictures that are there, search, F1."""

import re

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QImage, QTextDocument
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio import __version__
from studio.core.paths import resource
from studio.gui.help import ORDER, HelpDialog, find_pages, read_pages
from studio.gui.main_window import MainWindow
from studio.gui.screens.registry import FIRST_RUN, SCREENS
from studio.gui.theme import theme
from tests.gui.accessibility import nameless
from tests.gui.fake_backend import FakeBackend


@pytest.fixture
def dialog(window_app: QApplication, qtbot: QtBot) -> HelpDialog:
    made = HelpDialog()
    qtbot.addWidget(made)
    return made


def shown(dialog: HelpDialog) -> str:
    return dialog.page.toPlainText().splitlines()[0]


def test_that_every_screen_has_a_page() -> None:
    assert {screen.id for screen in (*SCREENS, FIRST_RUN)} <= set(ORDER)
    assert {path.stem for path in resource("help").glob("*.md")} == set(ORDER)


def test_that_pages_link_only_to_pages_and_pictures_that_exist() -> None:
    for page in read_pages():
        for target in re.findall(r"\]\(([^)]+)\)", page.text):
            if target.startswith("screens/"):
                for name in ("light", "dark"):
                    assert resource("help/" + target.replace(".png", f"-{name}.png"))
            elif not target.startswith("https://"):
                assert resource(f"help/{target}")


def test_that_the_changelog_has_this_version() -> None:
    assert f"## [{__version__}]" in resource("help/changelog.md").read_text(encoding="utf-8")


def test_that_the_search_finds_pages_by_all_words() -> None:
    pages = read_pages()
    assert find_pages(pages, "gradient norm")[0].id == "run"
    assert find_pages(pages, "keyboard")[0].id == "keyboard"
    assert find_pages(pages, "no page has xyzzy") == []


def test_that_a_page_is_searched_chosen_and_left_by_its_links(dialog: HelpDialog, qtbot: QtBot) -> None:
    dialog.show_page("runs")
    assert shown(dialog) == "Runs"
    dialog.search.setText("bfloat16")
    qtbot.waitUntil(lambda: shown(dialog) == "Devices")
    dialog.page.anchorClicked.emit(QUrl("new_run.md"))
    assert shown(dialog) == "New run"
    assert nameless(dialog) == []


def test_that_pictures_follow_the_theme_and_the_width(dialog: HelpDialog) -> None:
    dialog.show_page("run")
    kind = QTextDocument.ResourceType.ImageResource.value
    light = dialog.page.loadResource(kind, QUrl("screens/run.png"))
    theme().apply("dark")
    dark = dialog.page.loadResource(kind, QUrl("screens/run.png"))
    assert isinstance(light, QImage)
    assert light.width() <= dialog.page.viewport().width()
    assert light.pixelColor(5, 5).lightness() > 200
    assert dark.pixelColor(5, 5).lightness() < 60


def test_that_f1_opens_the_page_of_the_screen(window_app: QApplication, qtbot: QtBot, backend: FakeBackend) -> None:
    window = MainWindow(backend)
    qtbot.addWidget(window)
    window.show_screen("settings")
    window.commands.trigger("help")
    assert window._help is not None
    assert shown(window._help) == "Settings"
    window._help.close()
