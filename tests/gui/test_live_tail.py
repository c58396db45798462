"""The run's tail: bounded reads, resumes, crashes, torn lines."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.events import EpochEnded, Metrics, Resumed
from studio.gui.screens.live.curves import RunCurves
from studio.gui.screens.live.tail import Batch, RunTail, read_text_end
from tests.gui.run_writer import RunWriter, write_running


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    made = RunWriter(tmp_path / "runs")
    yield made
    made.release()


def drain(tail: RunTail, curves: RunCurves) -> Batch:
    while True:
        batch = tail.read()
        curves.apply(batch)
        if not batch.more:
            return batch


def test_that_a_reopened_run_is_replayed_without_a_gap(writer: RunWriter) -> None:
    write_running(writer, 340)
    curves = RunCurves()
    batch = drain(RunTail(writer.folder, bytes_per_read=5000), curves)
    assert curves.loss.x.tolist() == list(range(1, 341))
    assert batch.snapshot.step == 340
    assert curves.eval_steps.tolist() == [0, 100, 200, 300]
    assert len(curves.get("power_w")) == 170


def test_that_epochs_beyond_the_checkpoint_are_forgotten_when_a_run_resumes(writer: RunWriter) -> None:
    tail = RunTail(writer.folder)
    writer.add(EpochEnded(1.0, 1, 100, 50.0, 1000, 2.0), EpochEnded(2.0, 2, 200, 50.0, 1000, 3.0))
    assert [ended.epoch for ended in tail.read().epochs] == [1, 2]
    writer.add(Resumed(3.0, 150))
    assert [ended.epoch for ended in tail.read().epochs] == [1]
    writer.add(EpochEnded(4.0, 2, 200, 60.0, 1000, 4.0))
    assert [ended.watt_hours for ended in tail.read().epochs] == [2.0, 4.0]


def test_that_speed_is_tokens_by_seconds(writer: RunWriter) -> None:
    writer.add(Metrics(1.0, [1, 2], {"tokens": [100.0, 300.0], "seconds": [2.0, 3.0], "loss": [1.0, 1.0]}))
    curves = RunCurves()
    drain(RunTail(writer.folder), curves)
    assert curves.get("tokens_per_second").y.tolist() == [50, 100]


def test_that_a_resumed_run_replaces_the_steps_after_its_checkpoint(writer: RunWriter) -> None:
    curves, tail = RunCurves(), RunTail(writer.folder)
    writer.state("running")
    writer.steps(1, 10, device=False)
    drain(tail, curves)
    writer.add(Resumed(5.0, 6))
    writer.steps(7, 8, device=False)
    drain(tail, curves)
    assert curves.loss.x.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(curves.smooth_loss.x) == 8


def test_that_a_resume_inside_one_read_leaves_the_same_curve(writer: RunWriter) -> None:
    writer.state("running")
    writer.steps(1, 10, device=False)
    writer.add(Resumed(5.0, 6))
    writer.steps(7, 8, device=False)
    curves = RunCurves()
    drain(RunTail(writer.folder), curves)
    assert curves.loss.x.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_that_a_torn_last_line_is_read_once_it_is_whole(writer: RunWriter) -> None:
    curves, tail = RunCurves(), RunTail(writer.folder)
    with writer.folder.events.open("ab") as file:
        file.write(b'{"kind":"metrics","time":1,"step":[1],')
        file.flush()
        assert not tail.read().news
        file.write(b'"values":{"loss":["NaN"]}}\n')
    drain(tail, curves)
    assert math.isnan(curves.loss.last)
    assert curves.loss.bad == 1


def test_that_a_run_whose_lock_is_free_has_crashed(writer: RunWriter) -> None:
    writer.state("running")
    tail = RunTail(writer.folder)
    assert tail.read().snapshot.state == "running"
    assert tail.read().snapshot.state == "running"
    writer.release()
    crashed = tail.read()
    assert crashed.snapshot.state == "crashed"
    assert crashed.news
    assert not tail.read().news


def test_that_a_read_is_bounded(writer: RunWriter) -> None:
    write_running(writer, 300)
    batch = RunTail(writer.folder, bytes_per_read=4000).read()
    assert batch.more
    assert batch.snapshot.step < 30


def test_that_only_the_end_of_a_long_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stderr.log"
    path.write_text("".join(f"line {i}\n" for i in range(10_000)))
    text = read_text_end(path, 100)
    assert text.endswith("line 9999\n")
    assert text.startswith("line ")
    assert len(text) <= 100
    assert read_text_end(tmp_path / "none.log") == ""
