"""What the Run screen says."""

import math

import pytest

from studio.core.events import Evaluated
from studio.core.state import STATES, RunSnapshot
from studio.gui.screens.live import words


@pytest.mark.parametrize("state", STATES)
def test_that_resume_and_stop_are_never_offered_together(state: str) -> None:
    can = words.controls(state)
    assert not (can.resume and (can.stop or can.pause or can.save))


def test_that_the_remaining_time_follows_the_pace() -> None:
    assert words.remaining_s(10, 110, 0.5) == 50
    assert words.remaining_s(10, None, 0.5) is None
    assert words.remaining_s(110, 110, 0.5) is None


def test_that_a_lower_loss_and_a_higher_accuracy_are_both_better() -> None:
    evals = [Evaluated(0, 0, {"loss": 2.0, "accuracy": 0.5}, 1), Evaluated(1, 9, {"loss": 1.5, "accuracy": 0.7}, 1)]
    texts = {change.name: change.change_text for change in words.eval_changes(evals)}
    assert texts == {"loss": "−0.5000, better", "accuracy": "+0.2000, better"}


def test_that_one_eval_has_nothing_to_compare_with() -> None:
    (change,) = words.eval_changes([Evaluated(0, 0, {"loss": math.nan}, 1)])
    assert change.change_text == "–"


def test_that_a_run_without_progress_yet_says_what_it_waits_for() -> None:
    snapshot = RunSnapshot(state="starting", phase="loading the model", progress=0.4)
    assert words.phase_text(snapshot) == "loading the model 40%"
    assert words.progress(snapshot, 100) is None


def test_that_an_infinite_loss_is_a_word() -> None:
    assert words.loss_text(math.inf) == "infinite"
    assert words.loss_text(math.nan) == "–"
