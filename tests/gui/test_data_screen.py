"""The Data screen on a real library in an empty home."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from studio.core.facts import DataFacts
from studio.datasets.statistics import Statistics
from studio.gui.backend import Backend
from studio.gui.screens.data.screen import DataScreen
from studio.gui.screens.data.tables import LONGEST_CELL, cell_text
from tests.gui.accessibility import clashing_mnemonics, nameless, too_wide

ROWS = 450


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    lines = (
        {"question": f"is {row} even", "passage": f"Of {row}.", "label": "yno"[row % 2] * 2} for row in range(ROWS)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def screen(qtbot: QtBot, window_app: QApplication) -> Iterator[DataScreen]:
    made = DataScreen(Backend())
    qtbot.addWidget(made)
    made.resize(1100, 740)
    made.show()
    made.enter()
    return made


@pytest.fixture
def filled(screen: DataScreen, questions: Path, qtbot: QtBot) -> DataScreen:
    screen.add(str(questions))
    qtbot.waitUntil(lambda: screen.panel.heading.text() == "questions", timeout=8000)
    qtbot.waitUntil(lambda: "Row 1" in screen.panel.rendered.toPlainText(), timeout=8000)
    return screen


def test_that_an_empty_library_says_how_to_fill_it(screen: DataScreen, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: screen.lists.currentWidget() is screen.empty)
    assert not screen.use.isEnabled()


def test_that_a_dropped_file_is_read_and_shown_as_the_model_sees_it(
    screen: DataScreen, questions: Path, qtbot: QtBot
) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(questions))])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    screen.dropEvent(QDropEvent(QPointF(5, 5), copy, data, left, none))
    qtbot.waitUntil(lambda: "is 0 even" in screen.panel.rendered.toPlainText(), timeout=8000)
    assert "450 rows" in screen.panel.about.text()


def test_that_the_trained_part_is_underlined(filled: DataScreen) -> None:
    block = filled.panel.rendered.document().begin()
    trained = []
    while block.isValid():
        iterator = block.begin()
        while not iterator.atEnd():
            fragment = iterator.fragment()
            if fragment.charFormat().fontUnderline():
                trained.append(fragment.text().strip())
            iterator += 1
        block = block.next()
    assert trained[:2] == ["yy", "nn"]


def test_that_an_edited_mapping_changes_the_preview_and_can_be_saved(filled: DataScreen, qtbot: QtBot) -> None:
    field = filled.panel.mapping.roles["prompt"]
    field.set_value("Q: {question}!")
    field.edited.emit(field.path, "Q: {question}!")
    qtbot.waitUntil(lambda: "Q: is 3 even!" in filled.panel.rendered.toPlainText())
    assert filled.panel.mapping.save.isEnabled()
    filled.panel.mapping.save.click()
    qtbot.waitUntil(lambda: not filled.panel.mapping.save.isEnabled(), timeout=5000)
    assert Backend().datasets()[0].mapping["prompt"] == "Q: {question}!"


def test_that_an_unknown_column_is_an_error_at_its_field(filled: DataScreen, qtbot: QtBot) -> None:
    field = filled.panel.mapping.roles["prompt"]
    field.set_value("{qestion}")
    field.edited.emit(field.path, "{qestion}")
    qtbot.waitUntil(field.note.isVisible)
    assert "question" in field.note.text()
    assert not filled.panel.mapping.save.isEnabled()
    filled.panel.mapping.undo.click()
    qtbot.waitUntil(lambda: "Row 1" in filled.panel.rendered.toPlainText())


def test_that_another_format_has_other_roles(filled: DataScreen, qtbot: QtBot) -> None:
    form = filled.panel.mapping
    form.format.set_value("text")
    form.format.edited.emit("data.format", "text")
    assert list(form.roles) == ["text"]
    form.roles["text"].set_value("passage")
    form.roles["text"].edited.emit("data.columns.text", "passage")
    qtbot.waitUntil(lambda: filled.panel.rendered.toPlainText().startswith("Row 1\nOf 0."))


def test_that_the_preview_can_be_turned_like_pages(filled: DataScreen, qtbot: QtBot) -> None:
    filled.panel._turn(8)
    qtbot.waitUntil(lambda: filled.panel.rendered.toPlainText().startswith("Row 9\n"))
    filled.panel._turn(-100)
    qtbot.waitUntil(lambda: filled.panel.rendered.toPlainText().startswith("Row 1\n"))
    filled.panel._turn(10_000)
    qtbot.waitUntil(lambda: filled.panel.rendered.toPlainText().startswith(f"Row {ROWS}\n"))


def test_that_stored_rows_come_page_by_page(filled: DataScreen, qtbot: QtBot) -> None:
    rows = filled.panel.rows
    assert rows.rowCount() == ROWS
    assert rows.index(420, 0).data() is None
    qtbot.waitUntil(lambda: rows.index(420, 0).data() == "is 420 even")
    assert 1 not in rows.loaded_pages()


def test_that_a_file_that_is_no_dataset_is_refused_with_a_reason(
    screen: DataScreen, tmp_path: Path, qtbot: QtBot
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{]\n")
    screen.add(str(bad))
    qtbot.waitUntil(screen.error.isVisible, timeout=5000)
    assert "bad.jsonl" in screen.error.where.text()


def test_that_removing_asks_first(filled: DataScreen, qtbot: QtBot) -> None:
    filled.remove.click()
    (box,) = filled.findChildren(QMessageBox)
    box.buttons()[0].click()
    qtbot.waitUntil(lambda: filled.lists.currentWidget() is filled.empty, timeout=5000)


def test_that_use_presets_a_new_run(filled: DataScreen, qtbot: QtBot) -> None:
    with qtbot.waitSignal(filled.navigate) as asked:
        filled.use.click()
    assert asked.args == ["new_run", {"data": {"source": "library:questions"}}]


def test_that_the_keyboard_and_a_screen_reader_reach_everything(filled: DataScreen) -> None:
    QApplication.processEvents()
    assert nameless(filled) == []
    assert clashing_mnemonics(filled) == []
    assert too_wide(filled, filled.width()) == []


def test_that_a_cell_is_one_short_line() -> None:
    assert cell_text("a\n b\tc") == "a b c"
    assert cell_text({"role": "user"}) == '{"role": "user"}'
    assert len(cell_text("x" * 10_000)) == LONGEST_CELL + 1
    assert cell_text(None) == ""


def test_that_faults_are_found_shown_with_their_rows_and_mended_in_a_copy(
    screen: DataScreen, tmp_path: Path, qtbot: QtBot
) -> None:
    lines = [{"prompt": f"What is {row}?", "completion": f"It is {row}."} for row in range(40)]
    lines[7]["completion"] = "It is &amp; was<br />."
    lines[30]["completion"] = lines[31]["completion"] = ""
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    screen.add(str(path))
    qtbot.waitUntil(lambda: screen.panel.heading.text() == "answers", timeout=8000)
    view = screen.panel.findings
    screen.panel._tabs.setCurrentWidget(view)
    assert view.mend.isHidden()
    view.check.click()
    assert not view.check.isEnabled()
    qtbot.waitUntil(lambda: len(view.choices) == 2, timeout=8000)
    (unusable, leave_out), (markup, take_out) = view.choices
    assert unusable.rows.tolist() == [30, 31]
    assert markup.rows.tolist() == [7]
    assert leave_out.text() == "Leave these rows out"
    assert (view.check.isEnabled(), view.mend.isEnabled()) == (True, False)
    assert view.about.text() == "Checked 40 rows: 2 kinds of fault found."
    assert nameless(screen) == []
    assert clashing_mnemonics(screen) == []
    links = [link for link in view.findChildren(QPushButton) if link.text() == "Row 8"]
    links[0].click()
    qtbot.waitUntil(lambda: "Row 8" in screen.panel.rendered.toPlainText(), timeout=8000)
    assert "<br />" in screen.panel.rendered.toPlainText()
    leave_out.click()
    take_out.click()
    view.mend.click()
    qtbot.waitUntil(lambda: screen.panel.heading.text() == "answers-v2", timeout=8000)
    assert "38 rows" in screen.panel.about.text()
    assert "answers, then: leave these rows out, take the HTML out" in screen.panel.about.text()
    assert [facts.name for facts in screen.model.records()] == ["answers", "answers-v2"]
    view.check.click()
    qtbot.waitUntil(lambda: view.about.text() == "Checked 38 rows: nothing is wrong.", timeout=8000)
    assert view.mend.isHidden()


def test_that_what_is_found_of_one_dataset_is_not_shown_of_another(
    filled: DataScreen, tmp_path: Path, qtbot: QtBot
) -> None:
    view = filled.panel.findings
    view.check.click()
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "a &amp; b"}\n{"text": "c"}\n')
    filled.add(str(other))
    qtbot.waitUntil(lambda: filled.panel.heading.text() == "other", timeout=8000)
    qtbot.waitUntil(view.check.isEnabled, timeout=8000)
    assert (view.choices, view.error.isHidden()) == ([], True)
    assert view.about.text().startswith("Reads every row")


class SlowBackend(Backend):
    """Reads in no file before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_read = Event()

    def add_dataset(self, path: Path, *, progress: Any, cancelled: Any) -> DataFacts:
        assert self.may_read.wait(8)
        return super().add_dataset(path, progress=progress, cancelled=cancelled)


@pytest.mark.parametrize("good", [True, False])
def test_that_the_first_rows_are_shown_while_the_others_are_read(
    filled: DataScreen, tmp_path: Path, qtbot: QtBot, good: bool
) -> None:
    backend = filled.backend = SlowBackend()
    path = tmp_path / "long.jsonl"
    lines = [json.dumps({"prompt": f"p {row}", "completion": "c"}) for row in range(300)]
    path.write_text("\n".join(lines if good else [*lines, "{"]))
    filled.add(str(path))
    qtbot.waitUntil(filled.first.isVisible, timeout=8000)
    assert filled.panel.isHidden()
    assert filled.first.heading.text() == "long"
    assert filled.first.about.text().startswith("The first 100 rows; the others are being read. Columns 'prompt'")
    assert filled.first.rows.rowCount() == 100
    assert filled.first.rows.data(filled.first.rows.index(99, 0)) == "p 99"
    assert nameless(filled) == []
    backend.may_read.set()
    qtbot.waitUntil(filled.panel.isVisible, timeout=8000)
    qtbot.waitUntil(lambda: filled.panel.heading.text() == ("long" if good else "questions"), timeout=8000)
    assert filled.first.isHidden()
    assert filled.error.isVisible() == (not good)


def test_that_lengths_are_measured_once_they_are_looked_at(
    filled: DataScreen, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    tokens = np.array([10] * 60 + [300] * 30 + [900] * 10)

    def measure(name: str, model: str, **_: Any) -> Statistics:
        asked.append(f"{name} in {model}")
        return Statistics(tokens, np.full(100, 2), {"yes": 75, "no": 25}, 3, 103)

    monkeypatch.setattr(filled.backend, "measure_dataset", measure)
    view = filled.panel.lengths
    filled.panel.offer_models(["tiny", "other"])
    assert asked == []
    filled.panel._tabs.setCurrentWidget(view)
    qtbot.waitUntil(lambda: bool(view.words.text()), timeout=8000)
    assert view.words.text() == (
        "Looked at 103 of 450 rows, spread evenly: 186 tokens on average, half have at most 10, 95% at most 900, the "
        "longest 900; 2.0 of them are trained. 3 cannot be learned from."
    )
    assert view.limit.text() == "10.0% of them are longer than 512 tokens and would be cut."
    assert [view.answers.data(view.answers.index(0, place)) for place in range(3)] == ["yes", "75", "75.0%"]
    assert sum(count for _, _, count in view.chart.bars()) == 100
    assert "Most rows have 0 to 49 tokens; none has more than 949." in view.chart.accessibleDescription()
    view.longest.setText("1000")
    assert view.limit.text() == "None of them is longer than 1,000 tokens."
    view.longest.setText("")
    assert view.limit.text() == ""
    assert (nameless(filled), clashing_mnemonics(filled)) == ([], [])
    view.reader.setCurrentText("other")
    view.reader.activated.emit(1)
    qtbot.waitUntil(lambda: asked == ["questions in tiny", "questions in other"], timeout=8000)
