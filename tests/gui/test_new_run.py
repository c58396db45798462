"""The New run screen: pickers, generated form, problems at their fields, Pre-flight, draft."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from studio.core.errors import MachineError
from studio.core.problems import Problem
from studio.gui.backend import Check
from studio.gui.screens.new_run.screen import NewRunScreen
from studio.gui.widgets.editors import CheckEditor, NumberEditor
from studio.gui.widgets.mixed_editor import MixedEditor
from tests.gui.fake_backend import GPU, FakeBackend, estimate, plan


@pytest.fixture
def screen(window_app: QApplication, qtbot: QtBot, backend: FakeBackend) -> NewRunScreen:
    made = NewRunScreen(backend)
    qtbot.addWidget(made)
    made.resize(1140, 740)
    made.show()
    made.enter()
    qtbot.waitUntil(lambda: made.preflight.forecast.isVisible() or bool(made.draft.get("broken")))
    settle(made, qtbot)
    return made


def settle(screen: NewRunScreen, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: screen.checker.is_settled)


def answer_with(*problems: Problem) -> Any:
    def answer(raw: Mapping[str, Any]) -> Check:
        return Check(problems)

    return answer


def test_that_a_new_form_starts_with_the_first_model_and_data(screen: NewRunScreen) -> None:
    assert screen.draft.get("model.source") == "library:smollm2-135m-instruct"
    assert screen.draft.get("data.source") == "library:boolq"
    assert screen.draft.get("name") == "boolq-lora"
    assert screen.preflight.verdict.word == "Fits"
    assert screen.preflight.start_button.isEnabled()


def test_that_the_preflight_shows_figures_with_units(screen: NewRunScreen) -> None:
    texts = {label.text() for label in screen.preflight.findChildren(QLabel)}
    assert {"2.84 GiB", "2.67 – 3.06 GiB", "7 min 04 s", "6 – 10 min", "12 Wh", "2,442,240"} <= texts
    assert "21.0 GiB free of 24.0 GiB GPU memory" in texts


def test_that_an_edit_reaches_the_spec_and_is_checked_again(
    screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    rank = screen.form.method.placements[0].params.rows["rank"].editor
    assert isinstance(rank, NumberEditor)
    rank.setFocus()
    rank.selectAll()
    QTest.keyClicks(rank, "32")
    assert screen.draft.get("method.placements.0.params.rank") == 32
    qtbot.waitUntil(
        lambda: backend.calls[-1][1]["method"]["placements"][0].get("params") == {"rank": 32},
    )


def test_that_arrow_keys_step_a_number_within_its_bounds(screen: NewRunScreen) -> None:
    rank = screen.form.method.placements[0].params.rows["rank"].editor
    assert isinstance(rank, NumberEditor)
    QTest.keyClick(rank, Qt.Key.Key_Up)
    assert rank.value() == 9
    rank.set_value(1)
    QTest.keyClick(rank, Qt.Key.Key_Down)
    assert rank.value() == 1


def test_that_all_problems_show_at_their_fields_at_once(
    screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.answer = answer_with(
        Problem("train.learning_rate", "must be above 0", "or auto"),
        Problem("method.placements.0.params.rank", "must be at least 1", ""),
        Problem("data.columns.prompt", "names an unknown column", "did you mean 'passage'?"),
        Problem("model.source", "there is no model 'x'", "known: y"),
    )
    screen.checker.check_now()
    settle(screen, qtbot)
    assert "Must be above 0. Or auto" in screen.form.train.train.rows["learning_rate"].note.text()
    assert screen.form.method.placements[0].params.rows["rank"].note.text() == "Must be at least 1"
    assert "unknown column" in screen.form.data.columns["prompt"].note.text()
    assert "no model" in screen.libraries.model.note.text()
    assert not screen.preflight.start_button.isEnabled()
    assert "4 problems to solve" in {label.text() for label in screen.preflight.findChildren(QLabel)}


def test_that_a_problem_in_a_folded_section_is_unfolded_and_focused(
    screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.answer = answer_with(Problem("train.micro_batch", "does not divide", "choose a divisor"))
    screen.checker.check_now()
    settle(screen, qtbot)
    field = screen.form.train.train.rows["micro_batch"]
    assert not field.isVisible()
    link = next(b for b in screen.preflight.findChildren(QPushButton) if b.text() == "Micro-batch (rows)")
    link.click()
    assert field.isVisible()


def test_that_fixed_problems_disappear(screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.answer = answer_with(Problem("train.epochs", "too many", ""))
    screen.checker.check_now()
    settle(screen, qtbot)
    backend.answer = backend.check_structure
    screen.checker.check_now()
    settle(screen, qtbot)
    assert screen.form.train.train.rows["epochs"].note.text() == ""
    assert screen.preflight.start_button.isEnabled()


def test_that_advice_patches_the_form_and_undo_takes_it_back(
    screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    backend.answer = lambda raw: Check((), plan(), estimate("does not fit"), GPU)
    screen.checker.check_now()
    settle(screen, qtbot)
    assert screen.preflight.verdict.word == "Does not fit"
    advice = next(b for b in screen.preflight.findChildren(QPushButton) if "Halve" in b.accessibleName())
    assert "saves 900 MiB" in {label.text() for label in screen.preflight.findChildren(QLabel)}
    advice.click()
    assert screen.draft.get("train.micro_batch") == 4
    assert screen.form.train.train.rows["micro_batch"].value() == 4
    screen.undo()
    assert screen.draft.get("train.micro_batch") is None
    assert screen.form.train.train.rows["micro_batch"].value() == "auto"
    screen.redo()
    assert screen.form.train.train.rows["micro_batch"].value() == 4


def test_that_typing_in_one_field_is_one_undo_step(screen: NewRunScreen) -> None:
    steps = screen.draft.history.count()
    QTest.keyClicks(screen.form.name.editor, "abc")
    assert screen.draft.history.count() == steps + 1
    screen.undo()
    assert screen.form.name.value() == "boolq-lora"


def test_that_autos_show_what_they_came_to(screen: NewRunScreen) -> None:
    rate = screen.form.train.train.rows["learning_rate"].editor
    assert isinstance(rate, NumberEditor)
    assert rate.value() == "auto"
    assert rate.placeholderText() == "auto · 0.0002"
    assert screen.form.train.train.rows["precision"].editor.currentText() == "Auto · bf16"  # type: ignore[union-attr]


def test_that_role_chips_write_the_expression(screen: NewRunScreen) -> None:
    where = screen.form.method.placements[0].where
    chips = {button.text(): button for button in where.findChildren(QPushButton)}
    assert list(chips) == ["q", "k", "v", "o", "gate", "up", "down"]
    for role in ("k", "o", "gate", "up", "down"):
        chips[role].click()
    assert screen.draft.get("method.placements.0.where") == "role in (q, v)"
    assert [role for role, made in chips.items() if made.isChecked()] == ["q", "v"]


def test_that_chips_show_what_any_expression_selects(screen: NewRunScreen) -> None:
    where = screen.form.method.placements[0].where
    chips = {button.text(): button for button in where.findChildren(QPushButton)}
    QTest.keyClicks(where.field.editor, "layer < 10 and role in (q, v) or role == o")
    assert [role for role, made in chips.items() if made.isChecked()] == ["q", "v", "o"]
    assert chips["q"].accessibleName() == "Role q: 10 of 30 positions"
    chips["k"].click()
    assert screen.draft.get("method.placements.0.where") == "role in (k, o)"


def test_that_picking_other_data_drops_its_columns_and_sets_the_task(screen: NewRunScreen) -> None:
    screen.draft.set("data.columns", {"prompt": "x"})
    screen.libraries.data.picked.emit("library:imdb-sample")
    assert screen.draft.get("data.columns") is None
    assert screen.draft.get("task") == "classification"
    assert screen.draft.get("name") == "imdb-sample-lora"
    assert list(screen.form.data.columns) == ["text", "label", "text_pair"]


def test_that_a_name_the_user_wrote_stays(screen: NewRunScreen) -> None:
    screen.draft.patch({"name": "mine"})
    screen.libraries.data.picked.emit("library:imdb-sample")
    assert screen.draft.get("name") == "mine"


def test_that_the_picker_is_searched_and_chosen_by_keyboard(screen: NewRunScreen) -> None:
    picker = screen.libraries.model
    picker.card.setFocus()
    picker.open()
    QTest.keyClicks(picker.popup.search, "bert")
    QTest.keyClick(picker.popup.search, Qt.Key.Key_Return)
    assert screen.draft.get("model.source") == "library:minilm-l6"
    assert picker.card.accessibleName() == "Model: minilm-l6"


def test_that_a_second_method_is_added_and_removed(screen: NewRunScreen) -> None:
    screen.libraries.second_method.picked.emit("bitfit")
    assert [entry["use"] for entry in screen.draft.get("method.placements")] == ["lora", "bitfit"]
    assert len(screen.form.method.placements) == 2
    screen.form.method.removed.emit(0)
    assert [entry["use"] for entry in screen.draft.get("method.placements")] == ["bitfit"]


def test_that_changing_one_column_keeps_the_detected_others(screen: NewRunScreen) -> None:
    editor = screen.form.data.columns["completion"].editor
    editor.setPlainText("{label}!")  # type: ignore[union-attr]
    assert screen.draft.get("data.columns") == {
        "prompt": "{passage}\nQuestion: {question}?\nAnswer:", "completion": "{label}!",
    }  # fmt: skip


def test_that_start_starts_the_draft_and_goes_to_the_run(
    screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    with qtbot.waitSignal(screen.navigate) as went:
        screen.preflight.start_button.click()
    assert went.args == ["run", "20261124-063100-run-4f2a"]
    assert backend.calls[-1][0] == "start_run"
    assert backend.calls[-1][1]["data"]["source"] == "library:boolq"


def test_that_a_run_that_does_not_start_says_why(screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.start_error = MachineError("the disk has 3 MiB free", hint="free some space")
    screen.start()
    qtbot.waitUntil(screen.error.isVisible)
    assert screen.error.message.text() == "The disk has 3 MiB free"
    assert screen.error.hint.text() == "Free some space"
    assert screen.preflight.start_button.isEnabled()


def test_that_the_draft_is_kept_and_comes_back(
    screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot, window_app: QApplication
) -> None:
    screen.draft.patch({"name": "kept", "train.epochs": 3})
    screen.leave()
    qtbot.waitUntil(lambda: backend.draft is not None and backend.draft["name"] == "kept")
    again = NewRunScreen(backend)
    qtbot.addWidget(again)
    assert again.form.name.value() == "kept"
    assert again.form.train.train.rows["epochs"].value() == 3


def test_that_a_draft_goes_through_the_real_file(window_app: QApplication, studio_home: Path) -> None:
    from studio.gui.backend import Backend

    backend = Backend()
    assert backend.load_draft() is None
    backend.save_draft({"name": "x"})
    assert backend.load_draft() == {"name": "x"}
    (studio_home / "draft.json").write_text("{torn", encoding="utf-8")
    assert backend.load_draft() is None


def test_that_a_spec_file_round_trips(screen: NewRunScreen, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    screen.draft.patch({"train.learning_rate": 1e-4})
    with qtbot.waitSignal(screen.noted):
        screen.files.write(str(path))
    assert "learning_rate" in path.read_text(encoding="utf-8")
    screen.draft.patch({"train.learning_rate": "auto", "name": "other"})
    with qtbot.waitSignal(screen.noted):
        screen.enter({"file": str(path)})
    assert screen.draft.get("train.learning_rate") == pytest.approx(1e-4)
    assert screen.form.name.value() == "boolq-lora"


def test_that_a_broken_spec_file_says_what_is_wrong(screen: NewRunScreen, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: [", encoding="utf-8")
    screen.enter({"file": str(path)})
    qtbot.waitUntil(screen.error.isVisible)
    assert "broken.yaml" in screen.error.where.text()


def test_that_an_added_dataset_is_chosen(screen: NewRunScreen, qtbot: QtBot, tmp_path: Path) -> None:
    screen.libraries.add_data(str(tmp_path / "mine.jsonl"))
    qtbot.waitUntil(lambda: screen.draft.get("data.source") == "library:mine")
    qtbot.waitUntil(lambda: screen.libraries.data.card.accessibleName() == "Data: mine")


def test_that_a_file_dropped_on_the_data_is_added(screen: NewRunScreen, qtbot: QtBot, tmp_path: Path) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "dropped.csv"))])
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    screen.libraries.data.dropEvent(event)
    qtbot.waitUntil(lambda: screen.draft.get("data.source") == "library:dropped")


def test_that_the_first_choice_goes_together(window_app: QApplication, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.model_list.reverse()
    backend.data_list.reverse()
    made = NewRunScreen(backend)
    qtbot.addWidget(made)
    made.enter()
    qtbot.waitUntil(lambda: bool(made.draft.get("data.source")))
    assert made.draft.get("model.source") == "library:smollm2-135m-instruct"
    assert made.draft.get("data.source") == "library:boolq"


def test_that_a_small_dataset_holds_out_a_fifth(screen: NewRunScreen) -> None:
    screen.libraries.data.picked.emit("library:imdb-sample")
    assert screen.draft.get("data.split.eval") == 40
    screen.libraries.data.picked.emit("library:boolq")
    assert screen.draft.get("data.split") is None


def test_that_the_device_of_the_settings_is_used(window_app: QApplication, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.settings = backend.load_settings().model_copy(update={"device": "cuda:0"})
    made = NewRunScreen(backend)
    qtbot.addWidget(made)
    qtbot.waitUntil(lambda: made.draft.get("train.device") == "cuda:0")
    assert made.form.train.device.value() == "cuda:0"


def test_that_only_the_newest_check_counts(screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    import time

    def slow_first(raw: Mapping[str, Any]) -> Check:
        if raw["name"] == "slow":
            time.sleep(0.4)
            return Check((Problem("name", "is slow", ""),))
        return Check((), plan(), estimate("close"), GPU)

    backend.answer = slow_first
    screen.draft.patch({"name": "slow"})
    screen.checker.check_now()
    screen.draft.patch({"name": "fast"})
    screen.checker.check_now()
    settle(screen, qtbot)
    qtbot.wait(500)
    assert screen.preflight.verdict.word == "Close"
    assert screen.form.name.note.text() == ""


def test_that_a_long_check_can_be_cancelled(screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    import time

    def slow(raw: Mapping[str, Any]) -> Check:
        time.sleep(2.4)
        return Check((), plan(), estimate("close"), GPU)

    backend.answer = slow
    screen.checker.check_now()
    qtbot.waitUntil(screen.preflight.busy.cancel.isVisible)
    screen.preflight.busy.cancel.click()
    settle(screen, qtbot)
    assert not screen.preflight.busy.isVisible()
    assert not screen.error.isVisible()
    assert screen.preflight.verdict.word == "Fits"


def test_that_an_error_goes_with_the_next_change(screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot) -> None:
    backend.start_error = MachineError("the disk is full")
    screen.start()
    qtbot.waitUntil(screen.error.isVisible)
    screen.form.edited.emit("name", "again")
    assert not screen.error.isVisible()


def test_that_a_slow_check_does_not_hold_up_the_window(
    screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    import time

    def slow(raw: Mapping[str, Any]) -> Check:
        time.sleep(0.6)
        return Check((), plan(), estimate(), GPU)

    backend.answer = slow
    beats = [time.perf_counter()]
    heart = QTimer(screen, interval=5)
    heart.timeout.connect(lambda: beats.append(time.perf_counter()))
    heart.start()
    for rank in range(10, 20):
        screen.form.edited.emit("method.placements.0.params.rank", rank)
        qtbot.wait(20)
    qtbot.waitUntil(screen.preflight.busy.isVisible)
    settle(screen, qtbot)
    heart.stop()
    pauses = sorted(later - sooner for sooner, later in pairwise(beats))
    assert pauses[-1] < 0.2  # 50 ms on an idle machine; tests share theirs
    assert pauses[int(len(pauses) * 0.95)] < 0.05
    assert not screen.preflight.busy.isVisible()


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"method": "lora", "data": [], "train": 5, "name": 3, "model": None},
        {"method": {"placements": {"use": "lora"}}, "data": {"split": 1, "columns": "x", "source": 7}},
        {"method": {"placements": ["lora", {"use": "gone", "params": 4, "where": 5}]}, "limits": [1]},
        {"train": {"epochs": "many", "precision": ["x"], "learning_rate": {"a": 1}, "checkpointing": 3}},
    ],
)
def test_that_any_spec_can_be_shown_and_edited(screen: NewRunScreen, qtbot: QtBot, raw: dict[str, Any]) -> None:
    screen.enter({"spec": raw})
    settle(screen, qtbot)
    screen.libraries.model.picked.emit("library:minilm-l6")
    screen.libraries.data.picked.emit("library:imdb-sample")
    screen.libraries.method.picked.emit("bitfit")
    screen.libraries.second_method.picked.emit("lora")
    screen.form.edited.emit("train.epochs", 2)
    settle(screen, qtbot)
    assert [entry["use"] for entry in screen.draft.placements()][-1] == "lora"
    assert screen.draft.get("train.epochs") == 2
    while screen.draft.history.canUndo():
        screen.undo()


def test_that_a_gate_is_a_word_or_a_number(screen: NewRunScreen) -> None:
    gate = screen.form.method.placements[0].gate.editor
    assert isinstance(gate, MixedEditor)
    assert gate.value() is None
    assert gate.number.isHidden()
    choose(gate, "Learned from the input")
    assert screen.draft.get("method.placements.0.gate") == "input"
    choose(gate, "A number")
    assert screen.draft.get("method.placements.0.gate") == 1.0
    gate.number.setText("0.25")
    gate.number.textEdited.emit("0.25")
    assert screen.draft.get("method.placements.0.gate") == 0.25
    screen.undo()
    assert gate.value() is None


def test_that_a_gate_of_a_spec_is_shown_with_its_problem(
    screen: NewRunScreen, backend: FakeBackend, qtbot: QtBot
) -> None:
    path = "method.placements.0.gate"
    backend.answer = answer_with(Problem(path, "peft-vera takes no gate", "leave it out"))
    screen.draft.patch({path: 0.5})
    settle(screen, qtbot)
    field = screen.form.method.placements[0].gate
    assert field.value() == 0.5
    assert "takes no gate" in field.note.text()
    assert screen.form.name_of(path) == "Gate"


def test_that_exactly_is_offered_with_a_budget(screen: NewRunScreen) -> None:
    method = screen.form.method
    box = method.exact.editor
    assert isinstance(box, CheckEditor)
    assert not box.isEnabled()
    method.budget.editor.setText("1e6")
    method.budget.editor.textEdited.emit("1e6")
    box.click()
    assert screen.draft.part("method") == {"placements": [{"use": "lora"}], "budget": 1_000_000, "exact": True}
    screen.draft.patch({"method.budget": None})
    assert box.isEnabled()  # to take it back
    box.click()
    assert screen.draft.get("method.exact") is False


def choose(editor: MixedEditor, words: str) -> None:
    place = editor.choice.findText(words)
    editor.choice.setCurrentIndex(place)
    editor.choice.activated.emit(place)
