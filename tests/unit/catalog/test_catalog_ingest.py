"""Events become rows, summaries and curves, exactly once and in any portions."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.catalog.curves import CHUNK_POINTS
from studio.catalog.ingest import DIED, ingest, positions, reset
from studio.catalog.models import CurveChunk
from studio.catalog.models import MetricSummary as SummaryRow
from studio.catalog.queries import list_rows, load_run, metric_names, read_curve
from studio.catalog.rows import RunFilter
from studio.catalog.snapshots import dump_snapshot, load_snapshot
from studio.core import events as ev
from studio.core.state import fold

AddRun = Callable[..., str]


def steps(first: int, last: int, *, base: float = 0.0) -> ev.Metrics:
    numbers = list(range(first, last + 1))
    return ev.Metrics(float(last), numbers, {"loss": [base + n for n in numbers], "lr": [n / 10 for n in numbers]})


def feed(run_id: str, events: Sequence[ev.Event], *, died: bool = False) -> bool:
    start = positions()[run_id].offset
    end = start + len(events)
    return ingest(run_id, events, start=start, end=end, log_bytes=end, died=died, versions={"torch": "2.13.0"})


STORY: list[ev.Event] = [
    ev.StateChanged(1.0, "starting"),
    ev.StateChanged(2.0, "running"),
    ev.Evaluated(3.0, 0, {"loss": 5.0, "accuracy": 0.5}, 1.0),
    steps(1, 10),
    ev.Sampled(11.0, 10, [{"prompt": "a", "expected": "b", "output": "c"}]),
    ev.Evaluated(12.0, 10, {"loss": 4.0, "accuracy": 0.6}, 1.0),
    ev.CheckpointSaved(13.0, 10, "checkpoints/10", 100, best=True),
    steps(11, 25),
    ev.DeviceRead(25.5, {"device": "cpu", "power_w": 5.0}),
    ev.Resumed(26.0, 10),
    steps(11, 20, base=100.0),
    ev.Evaluated(27.0, 20, {"loss": 3.0, "accuracy": 0.7}, 1.0),
    ev.ArtifactWritten(28.0, "adapter", "artifacts/adapter", 7),
    ev.Noticed(28.5, "warning", "the sensor is slow"),
    ev.Measured(29.0, 1000, 26.0, 1.0, 50.0, 0.5),
    ev.Unknown(29.5, "from-the-future", {"x": 1}),
    ev.StateChanged(30.0, "completed"),
]


def test_that_a_whole_log_becomes_a_row_summaries_and_curves(add_run: AddRun) -> None:
    run_id = add_run()
    feed(run_id, STORY)
    row = list_rows(RunFilter(), "created", None, 0)[0]
    assert (row.state, row.step, row.started, row.ended) == ("completed", 20, 2.0, 30.0)
    assert (row.eval_before, row.eval_after, row.watt_hours, row.peak_bytes) == (5.0, 3.0, 0.5, 1000)
    assert metric_names(run_id) == ["eval_accuracy", "eval_loss", "loss", "lr"]
    curve_steps, values = read_curve(run_id, "loss")
    assert curve_steps.tolist() == list(range(1, 21))
    assert values.tolist() == [*range(1, 11), *range(111, 121)]
    assert curve_steps.dtype == np.float64


def test_that_summaries_forget_what_a_resume_superseded(add_run: AddRun) -> None:
    run_id = add_run()
    feed(run_id, [*STORY[:4], steps(11, 25, base=-1000.0), ev.Resumed(26.0, 10), steps(11, 12)])
    stored = load_run(run_id)
    assert stored is not None
    loss = stored.snapshot.metrics["loss"]
    assert (loss.min, loss.max, loss.last, loss.step) == (1.0, 12.0, 12.0, 12)


def test_that_a_metric_that_only_superseded_steps_had_is_gone(add_run: AddRun) -> None:
    run_id = add_run()
    feed(run_id, [steps(1, 4), ev.Metrics(5.0, [5], {"norm": [1.0]})])
    feed(run_id, [ev.Resumed(6.0, 4)])
    assert metric_names(run_id) == ["loss", "lr"]
    assert {row.name for row in SummaryRow.select()} == {"loss", "lr"}


def cuts(log: Sequence[ev.Event]) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(log)), max_size=6).map(sorted)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(marks=cuts(STORY))
def test_that_the_portions_in_which_a_log_arrives_do_not_matter(add_run: AddRun, marks: list[int]) -> None:
    whole, parts = add_run("whole"), add_run("parts")
    for run_id in (whole, parts):
        reset(run_id)
    feed(whole, STORY)
    for start, end in zip([0, *marks], [*marks, len(STORY)], strict=True):
        feed(parts, STORY[start:end])
    first, second = load_run(whole), load_run(parts)
    assert first is not None
    assert second is not None
    assert first.snapshot == second.snapshot
    assert first.row._replace(key=0, id="", created=0) == second.row._replace(key=0, id="", created=0)
    for name in metric_names(whole):
        np.testing.assert_array_equal(read_curve(whole, name), read_curve(parts, name))


def test_that_events_read_by_two_processes_count_once(add_run: AddRun) -> None:
    run_id = add_run()
    events = [steps(1, 3)]
    assert ingest(run_id, events, start=0, end=9, log_bytes=9, died=False, versions={})
    assert not ingest(run_id, events, start=0, end=9, log_bytes=9, died=False, versions={})
    assert read_curve(run_id, "loss")[0].tolist() == [1, 2, 3]


def test_that_a_run_the_catalog_does_not_know_is_left_alone(catalog: Path) -> None:
    assert not ingest("nobody", [steps(1, 2)], start=0, end=1, log_bytes=1, died=False, versions={})


@pytest.mark.parametrize(
    ("told", "died", "shown"),
    [
        ([], False, "draft"),
        ([], True, "crashed"),
        (["starting"], True, "crashed"),
        (["starting", "running"], False, "running"),
        (["starting", "running"], True, "crashed"),
        (["starting", "running", "stopping"], True, "crashed"),
        (["starting", "running", "paused"], True, "paused"),
        (["starting", "running", "completed"], True, "completed"),
    ],
)
def test_that_only_a_run_that_should_have_a_worker_crashes_without_one(
    add_run: AddRun, told: list[str], died: bool, shown: str
) -> None:
    run_id = add_run()
    feed(run_id, [ev.StateChanged(float(i), state) for i, state in enumerate(told)], died=died)
    row = list_rows(RunFilter(), "created", None, 0)[0]
    assert row.state == shown
    assert row.error == (DIED if shown == "crashed" else "")


def test_that_a_crashed_run_that_goes_on_is_running_again(add_run: AddRun) -> None:
    run_id = add_run()
    feed(run_id, STORY[:4], died=True)
    feed(run_id, [ev.StateChanged(40.0, "starting"), ev.StateChanged(41.0, "running"), ev.Resumed(41.0, 10)])
    row = list_rows(RunFilter(), "created", None, 0)[0]
    assert (row.state, row.error, row.ended) == ("running", "", None)


def test_that_values_that_are_no_numbers_survive_in_the_curve_and_are_null_in_summaries(add_run: AddRun) -> None:
    run_id = add_run()
    feed(run_id, [ev.Metrics(1.0, [1, 2, 3], {"loss": [1.0, math.inf, math.nan]})])
    assert np.isnan(read_curve(run_id, "loss")[1][2])
    summary = SummaryRow.get(SummaryRow.name == "loss")
    assert (summary.last, summary.min, summary.max, summary.step) == (None, 1.0, 1.0, 3)
    feed(run_id, [ev.Metrics(2.0, [4], {"loss": [0.5]})])
    assert SummaryRow.get(SummaryRow.name == "loss").min == 0.5


def test_that_many_small_portions_share_a_chunk(add_run: AddRun) -> None:
    run_id = add_run()
    for step in range(1, 51):
        feed(run_id, [ev.Metrics(1.0, [step], {"loss": [1.0]})])
    assert CurveChunk.select().count() == 1
    feed(run_id, [steps(51, CHUNK_POINTS + 10)])
    assert sorted(chunk.points for chunk in CurveChunk.select().where(CurveChunk.metric == "loss")) == [
        10, CHUNK_POINTS,
    ]  # fmt: skip
    assert len(read_curve(run_id, "loss")[0]) == CHUNK_POINTS + 10


def test_that_a_replaced_log_starts_over(add_run: AddRun) -> None:
    run_id = add_run()
    feed(run_id, STORY)
    reset(run_id)
    assert positions()[run_id].offset == 0
    assert metric_names(run_id) == []
    feed(run_id, STORY[:4])
    assert read_curve(run_id, "loss")[0].tolist() == list(range(1, 11))


def test_that_a_folded_run_survives_its_json_form() -> None:
    snapshot = fold(STORY)
    assert load_snapshot(dump_snapshot(snapshot)) == replace(
        snapshot, device=load_snapshot(dump_snapshot(snapshot)).device
    )
    assert load_snapshot("{}") == fold([])


def test_that_twenty_thousand_events_are_ingested_in_about_a_second(add_run: AddRun) -> None:
    run_id = add_run()
    names = ("loss", "learning_rate", "grad_norm", "tokens", "seconds")
    events = [ev.Metrics(1.0, [step], {name: [0.5] for name in names}) for step in range(20_000)]
    before = time.process_time()
    feed(run_id, events)
    assert time.process_time() - before < 2.0  # half the speed we claim, for a loaded machine
    assert len(read_curve(run_id, "tokens")[0]) == 20_000
