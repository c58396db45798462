"""Pre-flight in two stages: the formula at once, the simulation when it comes, a probe on request."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.core.errors import MachineError
from studio.core.forecast import Advice, Estimate
from studio.gui.backend import Check
from studio.gui.screens.new_run.advice import AdviceList
from studio.gui.screens.new_run.basis import SIMULATING
from studio.gui.screens.new_run.device_fits import DeviceFitsDialog
from studio.gui.screens.new_run.screen import NewRunScreen
from studio.gui.screens.new_run.words import NOT_ENOUGH
from studio.gui.widgets.text import Label
from tests.gui.accessibility import nameless, too_wide
from tests.gui.fake_backend import CPU, GPU, FakeBackend, estimate, plan, simulated


class SlowBackend(FakeBackend):
    """Simulates only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.better = simulated
        self.failure: MachineError | None = None
        self.at_work = self.most_at_work = 0

    def check_structure(self, raw: Mapping[str, Any]) -> Check:
        return Check((), plan(), _formula(estimate("does not fit")), GPU)

    def refine(self, raw: Mapping[str, Any]) -> Check:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.may_answer.wait(10)
        self.at_work -= 1
        if self.failure is not None:
            raise self.failure
        return super().refine(raw)

    def asked(self, name: str) -> list[Any]:
        return [raw for call, raw in self.calls if call == name]


def _formula(found: Estimate) -> Estimate:
    return found.model_copy(update={"basis": "formula", "evidence": "closed form, no run on this device yet"})


@pytest.fixture
def backend() -> SlowBackend:
    return SlowBackend()


@pytest.fixture
def screen(window_app: QApplication, qtbot: QtBot, backend: SlowBackend) -> NewRunScreen:
    made = NewRunScreen(backend)
    qtbot.addWidget(made)
    made.resize(1140, 740)
    made.show()
    made.enter()
    qtbot.waitUntil(made.preflight.forecast.isVisible)
    qtbot.waitUntil(lambda: made.preflight.basis.waiting.text() == SIMULATING)
    return made


def settle(screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot) -> None:
    backend.may_answer.set()
    qtbot.waitUntil(lambda: screen.checker.is_settled)


def test_that_the_formula_stands_until_the_simulation_replaces_it(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    preflight = screen.preflight
    assert preflight.basis.word.text() == "Formula"
    assert preflight.verdict.word == "Does not fit"
    before = preflight.bar.geometry()
    settle(screen, backend, qtbot)
    assert preflight.basis.word.text() == "Simulated"
    assert preflight.basis.word.accessibleName() == "Basis of the forecast: Simulated"
    assert preflight.basis.waiting.text() == ""
    assert preflight.evidence.words.text() == "A simulated step of this model, no run on this device yet."
    assert preflight.room.text() == "Fits up to 14 rows at once · rows up to 2,048 tokens"
    QApplication.processEvents()
    assert preflight.bar.geometry() == before


def test_that_a_simulation_of_an_older_draft_is_dropped_and_there_is_one_at_a_time(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    for epochs in (2, 3, 4):
        checks = len(backend.asked("check"))
        screen.form.edited.emit("train.epochs", epochs)
        qtbot.waitUntil(lambda checks=checks: len(backend.asked("check")) > checks)  # type: ignore[misc]
        assert screen.preflight.basis.word.text() == "Formula"
    settle(screen, backend, qtbot)
    assert backend.most_at_work == 1
    assert [raw["train"].get("epochs") for raw in backend.asked("refine")][1:] == [4]
    assert screen.preflight.basis.word.text() == "Simulated"


def test_that_a_simulation_that_fails_leaves_the_formula_and_says_why(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    backend.failure = MachineError("torch is not installed")
    settle(screen, backend, qtbot)
    preflight = screen.preflight
    assert preflight.basis.word.text() == "Formula"
    assert preflight.basis.warning.isVisible()
    assert preflight.evidence.fallback.text() == "Not simulated: torch is not installed."
    assert preflight.start_button.isEnabled()
    assert not screen.error.isVisible()


def test_that_no_simulation_is_asked_for_while_there_are_problems(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    settle(screen, backend, qtbot)
    asked = len(backend.asked("refine"))
    backend.answer = lambda raw: Check(())
    screen.checker.check_now()
    settle(screen, backend, qtbot)
    assert len(backend.asked("refine")) == asked
    assert not screen.preflight.basis.word.isVisible()


def test_that_the_reasons_for_what_was_chosen_are_there_once_unfolded(screen: NewRunScreen, qtbot: QtBot) -> None:
    autos = screen.preflight.autos
    assert autos.body.count() == 0
    autos.toggle.click()
    shown = {label.text(): label for label in autos.content.findChildren(Label)}
    for auto in plan().autos:
        qtbot.waitUntil(shown[auto.reason].isVisible)
    autos.toggle.click()
    autos.toggle.click()
    assert autos.body.count() == len(plan().autos)


def test_that_advice_that_suffices_comes_first_and_the_rest_is_marked(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    settle(screen, backend, qtbot)
    first, second = screen.preflight.advice._lines
    assert first.change.text() == "Halve the micro-batch to 4 rows"
    assert first.effect.text() == "saves 900 MiB · as fast"
    assert second.effect.text() == f"saves 1.07 GiB · 30% slower · {NOT_ENOUGH}"
    first.apply.click()
    assert screen.draft.get("train.micro_batch") == 4


def test_that_the_keyboard_keeps_its_place_in_the_advice(qtbot: QtBot, window_app: QApplication) -> None:
    advice = AdviceList()
    qtbot.addWidget(advice)
    advice.show()
    items = [Advice(change=f"change {place}", saves_bytes=1, patch={"a": place}) for place in range(3)]
    advice.show_advice(items)
    button = advice._lines[1].apply
    advice.show_advice(items[:2])
    assert advice._lines[1].apply is button
    assert not advice._lines[2].isVisible()
    with qtbot.waitSignal(advice.advised) as asked:
        QTest.keyClick(button, Qt.Key.Key_Space)
    assert asked.args == [{"a": 1}]


def test_that_an_unknown_device_is_not_drawn_as_an_empty_one(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    unknown = estimate().model_copy(update={"fits": None, "verdict": "unknown"})
    device = GPU.model_copy(update={"total_bytes": 0, "free_bytes": 0})
    backend.better = lambda found: found
    backend.answer = lambda raw: Check((), plan(), unknown, device)
    screen.checker.check_now()
    settle(screen, backend, qtbot)
    assert screen.preflight.verdict.word == "Unknown"
    assert screen.preflight.free.text() == "How much memory this device has is not known"
    assert "free" not in screen.preflight.bar.accessibleDescription()


def test_that_devices_are_compared_in_a_table(screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot) -> None:
    backend.fits.reverse()
    screen.preflight.devices.click()
    dialog = screen.findChild(DeviceFitsDialog)
    assert dialog is not None
    qtbot.waitUntil(lambda: dialog.model.rowCount() == 4)
    rows = [[dialog.model.index(row, column).data() for column in range(5)] for row in range(4)]
    assert rows[0] == [f"{CPU.name} · this machine", "fits", "4.00 GiB", "13.0 GiB of 16.0 GiB", "8 h 36 min"]
    assert rows[1][0] == f"{GPU.name} · this machine"
    assert rows[2] == ["NVIDIA T4", "does not fit", "3.00 GiB", "3.00 GiB", "35 min 00 s"]
    assert backend.asked("device_fits")[0]["model"] == screen.draft.get("model")
    assert nameless(dialog) == []
    assert too_wide(dialog, dialog.width()) == []
    dialog.model.sort(1)
    assert dialog.model.record(3).verdict == "does not fit"
    dialog.close()


def test_that_a_comparison_that_fails_says_why_in_its_window(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(raw: Mapping[str, Any]) -> Any:
        raise MachineError("the table of cards cannot be read")

    monkeypatch.setattr(backend, "device_fits", fail)
    screen.compare_devices()
    dialog = screen.findChild(DeviceFitsDialog)
    assert dialog is not None
    qtbot.waitUntil(dialog.error.isVisible)
    assert dialog.error.message.text() == "The table of cards cannot be read"
    dialog.close()


def test_that_a_probe_is_followed_by_a_new_forecast(screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot) -> None:
    settle(screen, backend, qtbot)
    checks, refinements = len(backend.asked("check")), len(backend.asked("refine"))
    backend.better = lambda found: replace(found, estimate=estimate().model_copy(update={"basis": "probed"}))
    screen.preflight.evidence.probe_button.click()
    qtbot.waitUntil(lambda: screen.preflight.basis.word.text() == "Probed")
    assert backend.asked("probe") == [screen.draft.raw]
    assert len(backend.asked("refine")) == refinements + 1
    assert len(backend.asked("check")) == checks
    assert screen.preflight.evidence.probe_button.isEnabled()


def test_that_a_probe_can_be_cancelled(screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot) -> None:
    settle(screen, backend, qtbot)
    backend.endless_probe = True
    evidence = screen.preflight.evidence
    evidence.probe_button.click()
    qtbot.waitUntil(lambda: evidence.progress.phase.text() == "step 1 of 3")
    assert not evidence.probe_button.isEnabled()
    qtbot.waitUntil(evidence.progress.cancel.isVisible)
    evidence.progress.cancel.click()
    qtbot.waitUntil(evidence.probe_button.isEnabled)
    assert not evidence.error.isVisible()
    assert not evidence.progress.isVisible()


def test_that_a_probe_that_fails_says_why_at_its_place(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    settle(screen, backend, qtbot)
    backend.probe_error = MachineError("the GPU ran out of memory", hint="take a smaller micro-batch")
    evidence = screen.preflight.evidence
    evidence.probe_button.click()
    qtbot.waitUntil(evidence.error.isVisible)
    assert evidence.error.message.text() == "The GPU ran out of memory"
    qtbot.waitUntil(lambda: not evidence.error.visibleRegion().isEmpty())
    screen.form.edited.emit("train.epochs", 2)
    assert not evidence.error.isVisible()


def test_that_there_is_nothing_to_probe_or_compare_without_a_plan(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    settle(screen, backend, qtbot)
    backend.answer = lambda raw: Check(())
    screen.checker.check_now()
    settle(screen, backend, qtbot)
    screen.probe()
    screen.compare_devices()
    assert screen.findChild(DeviceFitsDialog) is None
    assert screen.preflight.evidence.probe_button.isEnabled()
    assert backend.asked("probe") == []


def test_that_everything_has_a_name_and_stays_within_the_page(
    screen: NewRunScreen, backend: SlowBackend, qtbot: QtBot
) -> None:
    settle(screen, backend, qtbot)
    assert nameless(screen) == []
    assert too_wide(screen, screen.width()) == []
