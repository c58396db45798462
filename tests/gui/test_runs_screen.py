"""The Runs screen on a real catalog in an empty home."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from studio.gui.backend import Backend
from studio.gui.screens.runs.columns import RUN_COLUMNS, shown_columns
from studio.gui.screens.runs.panel import split_tags
from studio.gui.screens.runs.screen import RunsScreen
from tests.gui.accessibility import clashing_mnemonics, nameless, too_wide
from tests.gui.run_writer import RunWriter

Make = Callable[..., str]


@pytest.fixture
def make_run(studio_home: Path) -> Iterator[Make]:
    """Makes a run: name, state, steps done."""
    writers: list[RunWriter] = []

    def make(name: str, state: str = "completed", steps: int = 10) -> str:
        writer = RunWriter(studio_home / "runs", f"202611{len(writers) + 1:02d}-063100-run-{len(writers):04x}")
        writers.append(writer)
        spec = json.loads(writer.folder.spec.read_text())
        writer.folder.spec.write_text(json.dumps({**spec, "name": name}))
        writer.state("starting")
        writer.eval(0)
        writer.state("running")
        writer.steps(1, steps)
        writer.eval(steps)
        if state == "completed":
            writer.finish()
        elif state != "running":
            writer.state(state)
            writer.release()
        return writer.folder.id

    yield make
    for writer in writers:
        writer.release()


@pytest.fixture
def screen(qtbot: QtBot, window_app: QApplication) -> Iterator[RunsScreen]:
    made = RunsScreen(Backend())
    qtbot.addWidget(made)
    made.resize(1100, 740)
    made.show()
    yield made
    made.leave()


def names(screen: RunsScreen) -> list[str]:
    records = [screen.model.record(row) for row in range(screen.model.rowCount())]
    return [run.name for run in records if run is not None]


def enter(screen: RunsScreen, qtbot: QtBot, count: int) -> None:
    screen.enter()
    qtbot.waitUntil(lambda: len(names(screen)) == count, timeout=8000)


def select(screen: RunsScreen, *rows: int) -> None:
    flags = QItemSelectionModel.SelectionFlag
    screen.table.clearSelection()
    for row in rows:
        screen.table.selectionModel().select(screen.model.index(row, 0), flags.Select | flags.Rows)


def test_that_an_empty_catalog_says_how_to_fill_it(screen: RunsScreen, qtbot: QtBot) -> None:
    screen.enter()
    qtbot.waitUntil(lambda: screen.lists.currentWidget() is screen.empty)
    with qtbot.waitSignal(screen.navigate) as asked:
        screen.empty.action.click()
    assert asked.args == ["new_run", None]


def test_that_runs_are_listed_newest_first_with_their_figures(screen: RunsScreen, make_run: Make, qtbot: QtBot) -> None:
    make_run("older")
    make_run("newer", "failed")
    enter(screen, qtbot, 2)
    qtbot.waitUntil(lambda: names(screen) == ["newer", "older"])
    texts = [screen.model.index(1, column).data() for column in range(len(RUN_COLUMNS))]
    assert texts[:5] == ["completed", "older", "smollm2-135m-instruct", "boolq", "lora"]
    assert "→" in texts[6]


def test_that_search_filter_and_sort_are_the_catalogs(screen: RunsScreen, make_run: Make, qtbot: QtBot) -> None:
    for name, state in (("alpha", "completed"), ("beta", "failed"), ("gamma", "stopped")):
        make_run(name, state)
    enter(screen, qtbot, 3)
    screen.table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    qtbot.waitUntil(lambda: names(screen) == ["alpha", "beta", "gamma"])
    screen.chips["Failed"].click()
    qtbot.waitUntil(lambda: names(screen) == ["beta"])
    screen.clear()
    qtbot.waitUntil(lambda: len(names(screen)) == 3)
    screen.search.setText("gam")
    qtbot.waitUntil(lambda: names(screen) == ["gamma"])
    screen.search.setText("nothing like it")
    qtbot.waitUntil(lambda: screen.lists.currentWidget() is screen.nothing)


def test_that_a_new_run_appears_and_the_selection_stays_with_its_run(
    screen: RunsScreen, make_run: Make, qtbot: QtBot
) -> None:
    make_run("first")
    enter(screen, qtbot, 1)
    select(screen, 0)
    make_run("second", "running")
    qtbot.waitUntil(lambda: names(screen) == ["second", "first"], timeout=8000)
    qtbot.waitUntil(lambda: [run.name for run in screen.selected()] == ["first"])
    assert screen.panel.name.text() == "first"


def test_that_trash_can_be_undone(screen: RunsScreen, make_run: Make, qtbot: QtBot) -> None:
    make_run("kept")
    make_run("doomed")
    enter(screen, qtbot, 2)
    select(screen, 0)
    screen.act("trash")
    qtbot.waitUntil(lambda: names(screen) == ["kept"])
    qtbot.waitUntil(screen.commands.toast.isVisible)
    screen.commands.toast.action.click()
    qtbot.waitUntil(lambda: len(names(screen)) == 2)


def test_that_deleting_for_good_asks_first_and_removes_the_folder(
    screen: RunsScreen, make_run: Make, qtbot: QtBot, studio_home: Path
) -> None:
    run_id = make_run("doomed")
    enter(screen, qtbot, 1)
    select(screen, 0)
    screen.act("trash")
    qtbot.waitUntil(lambda: screen.model.rowCount() == 0)
    screen.trashed.click()
    qtbot.waitUntil(lambda: names(screen) == ["doomed"])
    select(screen, 0)
    screen.act("delete")
    (box,) = screen.findChildren(QMessageBox)
    assert (studio_home / "runs" / run_id).exists()
    box.buttons()[0].click()
    qtbot.waitUntil(lambda: not (studio_home / "runs" / run_id).exists())


def test_that_a_running_run_cannot_be_thrown_away(screen: RunsScreen, make_run: Make, qtbot: QtBot) -> None:
    make_run("busy", "running")
    enter(screen, qtbot, 1)
    qtbot.waitUntil(lambda: screen.model.index(0, 0).data() == "running")
    select(screen, 0)
    assert not screen.buttons["trash"].isEnabled()


def test_that_name_tags_and_notes_are_kept(screen: RunsScreen, make_run: Make, qtbot: QtBot) -> None:
    run_id = make_run("plain")
    enter(screen, qtbot, 1)
    select(screen, 0)
    screen.panel.name.setText("better")
    screen.panel.name.editingFinished.emit()
    screen.panel.tags.setText("good, fast,good")
    screen.panel.tags.editingFinished.emit()
    screen.panel.notes.setPlainText("rank 8 is enough")
    screen.panel.save_notes()

    def kept() -> bool:
        row = screen.model.record(0)
        return row is not None and (row.name, row.notes, set(row.tags)) == (
            "better",
            "rank 8 is enough",
            {"good", "fast"},
        )

    qtbot.waitUntil(kept, timeout=5000)
    assert json.loads((Path(Backend().run_folder(run_id)) / "labels.json").read_text())["notes"] == "rank 8 is enough"


def test_that_starring_several_runs_stars_them_all(screen: RunsScreen, make_run: Make, qtbot: QtBot) -> None:
    make_run("one")
    make_run("two")
    enter(screen, qtbot, 2)
    select(screen, 0, 1)
    screen.act("star")
    screen.starred.click()
    qtbot.waitUntil(
        lambda: len(names(screen)) == 2 and all(run and run.star for run in map(screen.model.record, (0, 1)))
    )


def test_that_several_runs_are_compared_by_curve_metric_and_setting(
    screen: RunsScreen, make_run: Make, qtbot: QtBot
) -> None:
    make_run("short", steps=5)
    make_run("long", steps=9)
    enter(screen, qtbot, 2)
    select(screen, 0, 1)
    screen.act("compare")
    view = screen.comparison
    qtbot.waitUntil(lambda: len(view.plot.values()) == 2)
    assert screen.pages.currentWidget() is view
    assert {title: len(x) for title, x, _ in view.plot.values()} == {"short": 5, "long": 9}
    assert "loss" in [line.name for line in view.metrics.records()]
    assert "name" not in [line.name for line in view.config.records()]
    assert nameless(screen) == []
    view.closed.emit()
    assert screen.pages.currentIndex() == 0


def test_that_open_and_repeat_go_to_their_screens(screen: RunsScreen, make_run: Make, qtbot: QtBot) -> None:
    run_id = make_run("again")
    enter(screen, qtbot, 1)
    select(screen, 0)
    with qtbot.waitSignal(screen.navigate) as opened:
        screen.buttons["open"].click()
    assert opened.args == ["run", run_id]
    with qtbot.waitSignal(screen.navigate) as repeated:
        screen.buttons["repeat"].click()
    assert repeated.args[0] == "new_run"
    assert repeated.args[1]["spec"]["name"] == "again"


def test_that_the_menu_offers_what_the_buttons_offer(screen: RunsScreen, make_run: Make, qtbot: QtBot) -> None:
    make_run("one")
    enter(screen, qtbot, 1)
    select(screen, 0)
    screen._menu(screen.table.rect().center())
    menu = QApplication.activePopupWidget()
    assert menu is not None
    offered = {action.text() for action in menu.actions()}
    assert offered == {made.text() for made in screen.buttons.values() if made.isEnabled()}
    menu.close()


def test_that_the_keyboard_and_a_screen_reader_reach_everything(
    screen: RunsScreen, make_run: Make, qtbot: QtBot
) -> None:
    make_run("one")
    enter(screen, qtbot, 1)
    select(screen, 0)
    qtbot.waitUntil(screen.panel.isVisible)
    QApplication.processEvents()
    assert nameless(screen) == []
    assert clashing_mnemonics(screen) == []
    assert too_wide(screen, screen.width()) == []


def test_that_narrow_tables_keep_the_columns_that_matter() -> None:
    wide = shown_columns(1000)
    assert len(wide) == len(RUN_COLUMNS)
    narrow = [RUN_COLUMNS[index].column.title for index in shown_columns(60)]
    assert narrow == ["State", "Name", "Eval loss"]
    assert [RUN_COLUMNS[index].column.title for index in shown_columns(1)] == ["State", "Name"]


def test_that_tags_are_split_at_commas_each_once() -> None:
    assert split_tags(" a, b ,,a") == ["a", "b"]
