"""Plugins of others in the window: install, turn on and off, check, remove, without ever waiting for them."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from studio.core.errors import Cancelled, PluginError, UserError
from studio.gui.screens.methods.plugins_view import PluginsView
from studio.service.check_reports import CheckResult, Report
from studio.service.plugins import PluginInfo
from tests.gui.accessibility import clashing_mnemonics, nameless
from tests.gui.fake_backend import FakeBackend
from tests.gui.heartbeat import Heartbeat


def plugin(id_: str, **changes: Any) -> PluginInfo:
    made = PluginInfo(id_, "method", id_.title(), "Odd.", "1.0.0", "home", f"/plugins/{id_}", True, "")
    return replace(made, **changes)


def result(check: str, status: Any = "passed") -> CheckResult:
    return CheckResult(family="llama", check=check, status=status, detail="", seconds=0.1)


REPORT = Report(id="mine", version="1.0.0", passed=False, families=("llama",),
                results=(result("trains"), result("merges", "failed")))  # fmt: skip


class PluginBackend(FakeBackend):
    """Acts on its list of plugins as the services act on the folders."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        folder = str(home / "plugins" / "mine")
        self.plugin_list = [plugin("mine", folder=folder), plugin("lora", origin="bundled")]
        self.hang_s = 0.0

    def change(self, id_: str, **changes: Any) -> PluginInfo:
        time.sleep(self.hang_s)
        self.plugin_list = [replace(p, **changes) if p.id == id_ else p for p in self.plugin_list]
        return next(p for p in self.plugin_list if p.id == id_)

    def enable_plugin(self, plugin_id: str) -> PluginInfo:
        return self.change(plugin_id, enabled=True, error="plugin 'mine': hangs\n  see its log")

    def disable_plugin(self, plugin_id: str) -> PluginInfo:
        return self.change(plugin_id, enabled=False)

    def remove_plugin(self, plugin_id: str) -> None:
        self.plugin_list = [p for p in self.plugin_list if p.id != plugin_id]

    def install_plugin(self, path: Path, *, replace: bool = False) -> PluginInfo:
        if any(p.id == path.stem for p in self.plugin_list) and not replace:
            raise UserError(f"there is a plugin {path.stem!r} already", where=str(self.home().plugins / path.stem))
        if path.suffix != ".zip":
            raise PluginError(path.stem, "has no plugin.toml")
        self.calls.append(("install", (path, replace)))
        self.plugin_list = [*(p for p in self.plugin_list if p.id != path.stem), plugin(path.stem)]
        return self.plugin_list[-1]

    def check_plugin(self, plugin_id: str, *, progress: Any, cancelled: Any) -> Report:
        progress("Checking", None)
        while self.hang_s and not cancelled():
            time.sleep(0.01)
        if self.hang_s:
            raise Cancelled
        self.reports[plugin_id] = REPORT
        return REPORT


@pytest.fixture
def backend(studio_home: Path) -> PluginBackend:
    return PluginBackend(studio_home)


@pytest.fixture
def view(window_app: QApplication, qtbot: QtBot, backend: PluginBackend) -> PluginsView:
    made = PluginsView(backend)
    qtbot.addWidget(made)
    made.resize(1100, 700)
    made.show()
    made.reload()
    qtbot.waitUntil(lambda: made.model.rowCount() > 0)
    return made


def settle(view: PluginsView, qtbot: QtBot) -> None:
    qtbot.waitUntil(view.panel.switch.isEnabled)


def states(view: PluginsView) -> dict[str, str]:
    return {info.id: view.model.index(row, 3).data() for row, info in enumerate(view.model.records())}


def question(view: PluginsView) -> QMessageBox:
    found = view.findChild(QMessageBox)
    assert found is not None
    return found


def test_that_only_plugins_of_others_are_listed(view: PluginsView) -> None:
    assert states(view) == {"mine": "On"}
    assert view.panel.outcome.text() == "Not checked as it is now."


def test_that_a_plugin_is_turned_off_and_on_again_with_what_is_wrong(view: PluginsView, qtbot: QtBot) -> None:
    with qtbot.waitSignal(view.changed):
        view.panel.switch.click()
    qtbot.waitUntil(lambda: states(view) == {"mine": "Off"})
    settle(view, qtbot)
    view.panel.switch.click()
    qtbot.waitUntil(lambda: states(view) == {"mine": "Cannot be used"})
    assert (view.panel.error.message.text(), view.panel.error.hint.text()) == ("Hangs", "See its log")


def test_that_a_slow_plugin_does_not_stop_the_window(view: PluginsView, backend: PluginBackend, qtbot: QtBot) -> None:
    backend.hang_s = 0.6
    heartbeat = Heartbeat(view)
    view.panel.switch.click()
    assert not view.panel.check.isEnabled()
    qtbot.waitUntil(lambda: states(view) == {"mine": "Off"})
    heartbeat.stop()
    assert heartbeat.longest_ms() < 200, heartbeat.report()


def test_that_a_check_shows_what_failed_first(view: PluginsView, qtbot: QtBot) -> None:
    view.panel.check.click()
    qtbot.waitUntil(lambda: view.panel.results.rowCount() == 2)
    assert view.panel.outcome.text() == "Version 1.0.0 fails 1 of 2 checks."
    assert [view.panel.results.index(0, place).data() for place in range(3)] == ["Failed", "llama", "merges"]


def test_that_a_check_can_be_given_up(view: PluginsView, backend: PluginBackend, qtbot: QtBot) -> None:
    backend.hang_s = 1
    view.panel.check.click()
    view.progress.cancel.click()
    settle(view, qtbot)
    assert not view.error.isVisible()
    assert view.panel.results.rowCount() == 0


def test_that_an_installed_plugin_is_selected(view: PluginsView, qtbot: QtBot) -> None:
    view.install("/downloads/fresh.zip")
    qtbot.waitUntil(lambda: "fresh" in states(view))
    settle(view, qtbot)
    chosen = view.selected()
    assert chosen is not None
    assert chosen.id == "fresh"


def test_that_an_older_version_is_replaced_only_when_asked(
    view: PluginsView, backend: PluginBackend, qtbot: QtBot
) -> None:
    view.install("/downloads/mine.zip")
    qtbot.waitUntil(lambda: view.findChild(QMessageBox) is not None)
    assert backend.calls == []
    question(view).buttons()[0].click()
    qtbot.waitUntil(lambda: backend.calls == [("install", (Path("/downloads/mine.zip"), True))])
    settle(view, qtbot)


def test_that_what_is_no_plugin_is_an_error_at_its_place(view: PluginsView, qtbot: QtBot) -> None:
    view.install("/downloads/notes.txt")
    qtbot.waitUntil(view.error.isVisible)
    assert "has no plugin.toml" in view.error.message.text()


def test_that_a_removal_asks_first_and_leaves_advice(view: PluginsView, qtbot: QtBot) -> None:
    view.panel.remove.click()
    question(view).buttons()[0].click()
    qtbot.waitUntil(lambda: view.lists.currentWidget() is view.empty)
    assert not view.panel.isVisible()


def test_that_the_keyboard_and_a_screen_reader_reach_everything(view: PluginsView) -> None:
    QApplication.processEvents()
    assert nameless(view) == []
    assert clashing_mnemonics(view) == []
