"""The Settings screen: in force at once, saved soon, wrong values kept out."""

import pytest
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.gui.screens.settings.screen import SettingsScreen
from studio.gui.theme import theme
from studio.service.settings import load
from tests.gui.fake_backend import FakeBackend


@pytest.fixture
def screen(window_app: QApplication, qtbot: QtBot, backend: FakeBackend) -> SettingsScreen:
    made = SettingsScreen(backend)
    qtbot.addWidget(made)
    made.show()
    made.enter()
    return made


def test_that_a_theme_is_in_force_at_once_and_saved(screen: SettingsScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    screen.rows["theme"].edited.emit("theme", "dark")
    assert theme().tokens.dark
    qtbot.waitUntil(lambda: backend.settings is not None and backend.settings.theme == "dark")


def test_that_the_text_size_is_in_force_at_once(screen: SettingsScreen, window_app: QApplication) -> None:
    screen.rows["font_scale"].edited.emit("font_scale", 1.5)
    assert window_app.font().pointSizeF() == pytest.approx(15)


def test_that_a_wrong_tariff_stays_at_its_field(screen: SettingsScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    editor = screen.rows["tariff_per_kwh"].editor
    QTest.keyClicks(editor, "cheap")
    assert "Not saved yet" in screen.rows["tariff_per_kwh"].note.text()
    qtbot.wait(400)
    assert backend.settings is None
    editor.clear()  # type: ignore[union-attr]
    QTest.keyClicks(editor, "0.31")
    assert screen.rows["tariff_per_kwh"].note.text() == ""
    qtbot.waitUntil(lambda: backend.settings is not None)
    assert backend.settings.tariff_per_kwh == pytest.approx(0.31)


def test_that_the_grid_is_a_number_or_a_region(screen: SettingsScreen) -> None:
    editor = screen.rows["grid"].editor
    QTest.keyClicks(editor, "38")
    assert screen.settings.grid == pytest.approx(38)
    editor.clear()  # type: ignore[union-attr]
    QTest.keyClicks(editor, "france")
    assert screen.settings.grid == "france"


def test_that_devices_are_offered(screen: SettingsScreen, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: screen.device.count() == 3)
    assert screen.device.itemText(2) == "NVIDIA GeForce RTX 4090"


def test_that_settings_survive_in_the_real_file(screen: SettingsScreen, qtbot: QtBot) -> None:
    from studio.gui.backend import Backend

    screen.backend = Backend()
    screen.rows["font_scale"].edited.emit("font_scale", 1.25)
    screen.leave()
    qtbot.waitUntil(lambda: getattr(load(), "font_scale", None) == 1.25)


def test_that_a_hub_token_is_kept_unseen_and_forgotten(
    screen: SettingsScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    field = screen.token
    assert field.entry.echoMode() == field.entry.EchoMode.Password
    QTest.keyClicks(field.entry, " hf_secret ")
    field.save.click()
    qtbot.waitUntil(field.forget.isEnabled)
    assert backend.token == "hf_secret"
    assert field.entry.text() == ""
    field.forget.click()
    qtbot.waitUntil(lambda: backend.token is None and not field.forget.isEnabled())
