"""Run states and the fold of events into a snapshot."""

import math

from studio.core import events as ev
from studio.core.state import ACTIVE, RESUMABLE, STATES, TERMINAL, TRANSITIONS, can_follow, fold, summary_json


def test_that_every_state_has_transitions_and_completed_is_final() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert TRANSITIONS["completed"] == frozenset()
    assert not ACTIVE & TERMINAL
    assert all(can_follow(state, "starting") for state in RESUMABLE)


def test_that_metrics_fold_into_last_lowest_and_highest() -> None:
    snapshot = fold([ev.Metrics(1.0, [1, 2, 3], {"loss": [3.0, 1.0, 2.0]})])
    assert snapshot.step == 3
    assert summary_json(snapshot.metrics) == {"loss": {"last": 2.0, "min": 1.0, "max": 3.0, "step": 3}}


def test_that_what_came_after_the_resumed_step_is_superseded() -> None:
    snapshot = fold(
        [
            ev.Metrics(1.0, [1, 2], {"loss": [2.0, 1.0]}),
            ev.Evaluated(1.0, 0, {"loss": 3.0}, 0.1),
            ev.Evaluated(2.0, 2, {"loss": 1.0}, 0.1),
            ev.Resumed(3.0, 1),
        ]
    )
    assert snapshot.step == 1
    assert [e.step for e in snapshot.evals] == [0]


def test_that_a_metric_that_never_was_finite_is_null_in_json() -> None:
    snapshot = fold([ev.Metrics(1.0, [1], {"loss": [math.nan]})])
    assert summary_json(snapshot.metrics)["loss"] == {"last": None, "min": None, "max": None, "step": 1}


def test_that_a_restart_clears_the_error_of_the_session_before() -> None:
    failed = [ev.StateChanged(1.0, "running"), ev.Failed(2.0, "UserError", "m"), ev.StateChanged(2.0, "failed")]
    assert fold(failed).error is not None
    assert fold([*failed, ev.StateChanged(3.0, "starting")]).error is None


def test_that_removed_checkpoints_leave_the_snapshot() -> None:
    snapshot = fold(
        [
            ev.CheckpointSaved(1.0, 10, "checkpoints/10", 1),
            ev.CheckpointSaved(2.0, 20, "checkpoints/20", 1, removed=[10]),
        ]
    )
    assert list(snapshot.checkpoints) == [20]
