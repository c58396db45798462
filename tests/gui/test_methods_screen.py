"""The Methods screen: the gallery, one method in full, and methods side by side."""

import csv
import json

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from studio.core.errors import PluginError
from studio.gui.screens.methods.log_dialog import LogDialog
from studio.gui.screens.methods.screen import MethodsScreen
from studio.service.plugins import PluginInfo
from tests.gui.accessibility import clashing_mnemonics, nameless, too_wide
from tests.gui.fake_backend import FakeBackend


@pytest.fixture
def screen(qtbot: QtBot, window_app: QApplication, backend: FakeBackend) -> MethodsScreen:
    made = MethodsScreen(backend)
    qtbot.addWidget(made)
    made.resize(1100, 740)
    made.show()
    made.enter("lora")
    qtbot.waitUntil(lambda: "parameters" in made.panel.trainable.text())
    return made


def test_that_the_asked_for_method_is_shown_with_its_paper_and_count(screen: MethodsScreen) -> None:
    panel = screen.panel
    assert panel.heading.text() == "LoRA"
    assert "arXiv 2106.09685" in panel.paper.text()
    assert panel.trainable.text() == "2,442,240 parameters"
    assert panel.diagram.accessibleDescription().startswith("Chosen: q (30 of 30)")


def test_that_a_changed_parameter_is_counted_anew(screen: MethodsScreen, qtbot: QtBot) -> None:
    form = screen.panel.form
    assert form is not None
    form.set_values({"rank": 16})
    form.edited.emit("params.rank", 16)
    qtbot.waitUntil(lambda: screen.panel.trainable.text() == "4,884,480 parameters")


def test_that_where_narrows_what_the_drawing_marks(screen: MethodsScreen, qtbot: QtBot) -> None:
    screen.panel.where.setText("role in (q, v) and layer < 10")
    qtbot.waitUntil(lambda: screen.panel.diagram.accessibleDescription() == "Chosen: q (10 of 30), v (10 of 30)")


def test_that_a_wrong_where_is_an_error_at_its_place(screen: MethodsScreen, qtbot: QtBot) -> None:
    screen.panel.where.setText("role ~ q")
    qtbot.waitUntil(screen.panel.error.isVisible)
    assert screen.panel.trainable.text() == "–"
    screen.panel.where.setText("role == q")
    qtbot.waitUntil(lambda: not screen.panel.error.isVisible())


def test_that_search_looks_into_papers_and_tags(screen: MethodsScreen, qtbot: QtBot) -> None:
    screen.filters.search.setText("low-rank hu")
    qtbot.waitUntil(lambda: screen.model.rowCount() > 0)
    screen.filters.search.setText("no such method")
    qtbot.waitUntil(lambda: screen.lists.currentWidget() is screen.nothing)
    assert not screen.use.isEnabled()


def test_that_use_presets_a_new_run_with_the_parameters_set(screen: MethodsScreen, qtbot: QtBot) -> None:
    screen.panel.where.setText("role == q")
    with qtbot.waitSignal(screen.navigate) as asked:
        screen.use.click()
    (placement,) = asked.args[1]["method"]["placements"]
    assert (placement["use"], placement["where"], placement["params"]["rank"]) == ("lora", "role == q", 8)


def test_that_the_keyboard_and_a_screen_reader_reach_everything(screen: MethodsScreen) -> None:
    QApplication.processEvents()
    assert nameless(screen) == []
    assert clashing_mnemonics(screen) == []
    assert too_wide(screen, screen.width()) == []


def test_that_chips_and_works_narrow_the_gallery(screen: MethodsScreen, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: screen.model.record(0).counted is not None)
    assert titles(screen) == ["BitFit", "LoRA"]
    assert {family: made.text() for family, made in screen.filters.chips.items()} == {"Low-rank": "Low-rank 2"}
    screen.filters.works.setChecked(True)
    assert titles(screen) == ["LoRA"]
    assert screen.count.text() == "1 of 2 methods"


def test_that_a_budget_sizes_every_method_and_the_one_in_full(
    screen: MethodsScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    type_budget(screen, "1e6")
    qtbot.waitUntil(lambda: screen.panel.trainable.text() == "915,840 parameters")
    assert screen.panel.fitted.text() == "Fitted to 1,000,000: Rank 3"
    qtbot.waitUntil(lambda: screen.model.record(1).trainable == 915_840)
    assert backend.calls[-1] == ("count_methods", ("library:smollm2-135m-instruct", 1_000_000))
    with qtbot.waitSignal(screen.navigate) as asked:
        screen.use.click()
    assert asked.args[1]["method"]["budget"] == 1_000_000


def test_that_a_budget_that_is_no_number_counts_nothing(screen: MethodsScreen, backend: FakeBackend) -> None:
    before = len(backend.calls)
    type_budget(screen, "many")
    assert screen.target.editor.property("problem")
    assert len(backend.calls) == before


def test_that_space_checks_methods_which_are_then_compared_at_the_budget(screen: MethodsScreen, qtbot: QtBot) -> None:
    type_budget(screen, "200000")
    screen.list.setFocus()
    for row in range(2):
        screen.list.setCurrentIndex(screen.model.index(row, 0))
        QTest.keyClick(screen.list, Qt.Key.Key_Space)
    assert screen.side_by_side.text() == "&Compare 2"
    screen.side_by_side.click()
    assert screen.pages.currentWidget() is screen.comparison
    qtbot.waitUntil(lambda: screen.comparison.model.record(1).counted is not None)
    sizes = [screen.comparison.model.index(row, 1).data() for row in range(2)]
    assert sizes == ["cannot be met: the smallest size already has 305,280"] * 2


def test_that_without_checks_all_shown_are_compared_and_one_opens_in_full(screen: MethodsScreen, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: screen.model.record(1).counted is not None)
    screen.compare()
    table, model = screen.comparison.table, screen.comparison.model
    assert [model.record(row).info.id for row in range(2)] == ["bitfit", "lora"]
    assert [model.index(1, place).data() for place in range(1, 9)] == [
        "Rank 8, Alpha 16", "2,442,240", "1.8156%", "420", "210", "9.32 MiB", "18.6 MiB", "yes",
    ]  # fmt: skip
    table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    assert [model.record(row).info.id for row in range(2)] == ["lora", "bitfit"]
    assert (table.columnSpan(0, 1), table.columnSpan(1, 1)) == (1, 7)
    table.activated.emit(model.index(0, 0))
    assert screen.pages.currentWidget() is screen.gallery
    assert screen.panel.method_id == "lora"


def test_that_the_comparison_is_copied_with_exact_figures(screen: MethodsScreen, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: screen.model.record(1).counted is not None)
    screen.compare()
    with qtbot.waitSignal(screen.noted):
        screen.comparison.copy()
    lines = list(csv.DictReader(QApplication.clipboard().text().splitlines()))
    assert [(line["method"], line["trainable"], line["optimizer_bytes"]) for line in lines] == [
        ("bitfit", "", ""), ("lora", "2442240", "19537920"),
    ]  # fmt: skip
    assert lines[0]["problem"] == "bitfit trains nothing where 'kind == linear'"
    assert json.loads(lines[1]["params"]) == {"rank": 8}


def test_that_a_broken_plugin_stands_first_with_its_reason_and_its_log(
    screen: MethodsScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.broken_list = [PluginError("odd", "does not answer within 10 s", hint="its output is in odd.log")]
    screen.enter("odd")
    qtbot.waitUntil(lambda: screen.details.currentWidget() is screen.broken)
    assert titles(screen)[0] == "odd"
    assert screen.broken.error.message.text() == "Does not answer within 10 s"
    assert not screen.use.isEnabled()
    assert screen.model.index(0, 0).data(Qt.ItemDataRole.CheckStateRole) is None
    log, among = screen.broken.error.findChildren(QPushButton)
    log.click()
    dialog = screen.findChild(LogDialog)
    assert dialog is not None
    qtbot.waitUntil(lambda: dialog.text.toPlainText() == "odd says <b>hello</b>")
    dialog.close()
    among.click()
    assert screen.pages.currentWidget() is screen.plugins


def test_that_what_was_checked_unfolds_by_model(screen: MethodsScreen) -> None:
    checks = screen.panel.checks
    assert checks.toggle.text() == "Checked: 3 checks on 2 models"
    texts = [label.text() for label in checks.content.findChildren(QLabel)]
    assert texts == ["Llama, 2", "allocates, trains", "BERT, 1", "allocates"]


def test_that_every_page_is_reached_by_the_keyboard_and_fits(
    screen: MethodsScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.plugin_list = [PluginInfo("mine", "method", "Mine", "Odd.", "1.0.0", "home", "/x", enabled=True, error="")]
    for show in (screen.compare, screen.show_plugins):
        show()
        qtbot.waitUntil(lambda: screen.comparison.isVisible() or screen.plugins.panel.isVisible())
        assert nameless(screen) == []
        assert clashing_mnemonics(screen) == []
        assert too_wide(screen, screen.width()) == []
        assert screen.comparison.table.horizontalScrollBar().maximum() == 0


def titles(screen: MethodsScreen) -> list[str]:
    return [entry.title for entry in screen.model.records()]


def type_budget(screen: MethodsScreen, text: str) -> None:
    """As a user does, and wait no moment."""
    screen.target.editor.setText(text)
    screen.target.editor.edited.emit(screen.target.editor.value())
    screen.target._typed()
