"""The catalog follows the run folders; labels live in both; reports are made of either."""

import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from studio.core import events as ev
from studio.core.errors import MachineError, UserError
from studio.core.paths import home
from studio.rundir.lock import RunLock
from studio.service import runs
from studio.service.runs import RunFilter
from tests.helpers.runs import append, make_run, story

RUN = "20261124-063100-boolq-lora-4f2a"


def states() -> dict[str, str]:
    runs.refresh()
    return {row.id: row.state for row in runs.list_runs()}


def test_that_a_home_without_runs_lists_none() -> None:
    assert runs.refresh() == set()
    assert runs.list_runs() == []
    assert runs.count_runs() == 0


def test_that_refresh_names_what_changed_and_only_that() -> None:
    folder = make_run(RUN, story()[:5])
    with RunLock(folder.lock):
        assert runs.refresh() == {RUN}
        assert runs.refresh() == set()
        append(folder.path, story()[5:7])
        assert runs.refresh() == {RUN}
        assert runs.list_runs()[0].step == 4
    append(folder.path, story()[7:])
    assert runs.refresh() == {RUN}
    assert runs.refresh() == set()
    assert runs.list_runs()[0].state == "completed"


def test_that_a_torn_last_line_is_read_when_it_is_whole() -> None:
    folder = make_run(RUN, story()[:4])
    with RunLock(folder.lock):
        line = ev.encode(story()[4]) + "\n"
        with folder.events.open("a") as file:
            file.write(line[:20])
        runs.refresh()
        assert runs.list_runs()[0].step == 0
        assert runs.refresh() == set()
        with folder.events.open("a") as file:
            file.write(line[20:])
        runs.refresh()
        assert runs.list_runs()[0].step == 2


def test_that_a_run_whose_lock_is_free_has_crashed_and_shows_its_last_words() -> None:
    folder = make_run(RUN, [*story()[:6], ev.DeviceRead(105.0, {"device": "cpu", "used_bytes": 5})])
    folder.stderr.write_text("line\n" * 30 + "CUDA error: misaligned address\n")
    with RunLock(folder.lock):
        assert states() == {RUN: "running"}
    assert states() == {RUN: "crashed"}
    error = runs.show_run(RUN)["error"]
    assert error["stderr"].endswith("misaligned address")
    assert "last checkpoint" in error["hint"]
    assert error["device"]["sample"]["used_bytes"] == 5
    with RunLock(folder.lock):
        append(
            folder.path, [ev.StateChanged(200.0, "starting"), ev.StateChanged(201.0, "running"), ev.Resumed(201.0, 2)]
        )
        assert states() == {RUN: "running"}
        assert runs.show_run(RUN)["error"] is None


def test_that_a_worker_that_dies_before_its_first_word_has_crashed() -> None:
    make_run(RUN, [])
    assert states() == {RUN: "crashed"}


def test_that_a_run_not_launched_yet_is_a_draft() -> None:
    make_run(RUN, [], launched=False)
    assert states() == {RUN: "draft"}


def test_that_folders_being_written_or_deleted_are_no_runs() -> None:
    make_run(RUN)
    (home().runs / ".new-x").mkdir()
    (home().runs / ".deleted-y").mkdir()
    (home().runs / "a file").touch()
    assert states() == {RUN: "completed"}
    assert runs.check() == []


def test_that_a_folder_taken_away_leaves_the_list() -> None:
    folder = make_run(RUN)
    runs.refresh()
    shutil.rmtree(folder.path)
    assert runs.refresh() == {RUN}
    assert runs.list_runs() == []


def test_that_a_runs_folder_that_is_not_mounted_loses_nothing() -> None:
    make_run(RUN)
    runs.refresh()
    home().runs.rename(home().root / "elsewhere")
    assert runs.refresh() == set()
    assert len(runs.list_runs()) == 1


def test_that_a_log_that_shrank_is_read_again() -> None:
    folder = make_run(RUN)
    runs.refresh()
    folder.events.write_text(ev.encode(ev.Metrics(1.0, [1], {"loss": [9.0]})) + "\n")
    runs.refresh()
    steps, values = runs.curve(RUN, "loss")
    assert (steps.tolist(), values.tolist()) == ([1.0], [9.0])
    assert runs.metric_names(RUN) == ["loss"]


@pytest.mark.parametrize("damage", ["{", "[]", None])
def test_that_a_damaged_folder_is_named_and_hides_no_other(damage: str | None) -> None:
    make_run(RUN)
    bad = make_run("20261124-070000-bad-0000")
    if damage is None:
        bad.spec.unlink()
    else:
        bad.spec.write_text(damage)
    assert states() == {RUN: "completed"}
    problems = runs.check()
    assert [problem.where for problem in problems] == [str(bad.spec)]


def test_that_damaged_labels_are_named_and_the_run_is_listed_without_them() -> None:
    folder = make_run(RUN)
    folder.labels.write_text('{"tags": 7}')
    assert states() == {RUN: "completed"}
    assert [problem.where for problem in runs.check()] == [str(folder.labels)]
    with pytest.raises(UserError, match="something else than labels"):
        runs.star(RUN)


def test_that_labels_survive_a_rebuild() -> None:
    make_run(RUN)
    runs.refresh()
    runs.tag(RUN, "paper", "best", "paper")
    runs.untag(RUN, "best", "never there")
    runs.note(RUN, "two\nlines")
    runs.rename(RUN, "  my favourite ")
    runs.star(RUN)
    before = runs.list_runs()[0]
    assert (before.tags, before.notes, before.name, before.star) == (("paper",), "two\nlines", "my favourite", True)
    rebuilt = runs.rebuild()
    assert (rebuilt.runs, rebuilt.problems) == (1, ())
    assert runs.list_runs() == [before]
    assert runs.all_tags() == {"paper": 1}
    kept = json.loads((home().runs / RUN / "labels.json").read_text())
    assert kept["created"] == 1000.0


def test_that_entries_of_a_newer_studio_stay_in_the_labels() -> None:
    folder = make_run(RUN)
    folder.labels.write_text('{"colour": "red", "created": 5.0}')
    runs.star(RUN)
    assert json.loads(folder.labels.read_text())["colour"] == "red"


@pytest.mark.parametrize("tag", ["", "  ", "a,b", "x" * 41, "new\nline", "\x1b[31m"])
def test_that_a_tag_that_would_break_lists_is_refused(tag: str) -> None:
    make_run(RUN)
    with pytest.raises(UserError, match="cannot be a tag"):
        runs.tag(RUN, "good", tag)
    assert runs.show_run(RUN)["tags"] == []


@pytest.mark.parametrize("name", ["", "x" * 121, "two\nlines"])
def test_that_an_unusable_name_is_refused(name: str) -> None:
    make_run(RUN)
    with pytest.raises(UserError, match="cannot be a run's name"):
        runs.rename(RUN, name)


def test_that_the_trash_hides_and_restores() -> None:
    make_run(RUN)
    runs.refresh()
    runs.trash(RUN)
    assert runs.list_runs() == []
    assert [row.id for row in runs.list_runs(RunFilter(trashed=True))] == [RUN]
    runs.restore(RUN)
    assert [row.id for row in runs.list_runs()] == [RUN]


def test_that_a_deleted_run_is_gone_from_disk_and_list() -> None:
    folder = make_run(RUN)
    (folder.checkpoints / "2").mkdir(parents=True)
    runs.delete(RUN)
    assert list(home().runs.iterdir()) == []
    assert runs.list_runs() == []


def test_that_an_active_run_is_neither_deleted_nor_trashed() -> None:
    folder = make_run(RUN, story()[:4])
    with RunLock(folder.lock):
        for remove in (runs.delete, runs.trash):
            with pytest.raises(UserError, match="active"):
                remove(RUN)
    assert folder.spec.exists()


def test_that_deleting_what_is_not_there_says_so() -> None:
    with pytest.raises(UserError, match="no run 'nothing'"):
        runs.delete("nothing")
    with pytest.raises(UserError, match="no run 'nothing'"):
        runs.show_run("nothing")


def test_that_a_run_is_shown_with_every_promised_field() -> None:
    folder = make_run(RUN)
    shown = runs.show_run(RUN)
    promised = "id name state spec plan estimate measured metrics checkpoints artifacts parent tags notes folder error"
    assert set(promised.split()) <= shown.keys()
    measured = {"peak_bytes": 10_000_000, "seconds": 7.0, "seconds_per_step": 0.5, "watt_hours": 1.5,
                "tokens_per_second": 200.0}  # fmt: skip
    assert measured.items() <= shown["measured"].items()
    assert shown["metrics"]["loss"] == {"last": 1.0, "min": 1.0, "max": 4.0, "step": 4}
    assert shown["metrics"]["eval_loss"]["last"] == 2.0
    assert shown["checkpoints"][0]["step"] == 2
    assert shown["artifacts"][0]["name"] == "adapter"
    assert (shown["folder"], shown["error"], shown["created"]) == (str(folder.path), None, 1000.0)


def test_that_a_failed_run_shows_what_where_and_what_to_do() -> None:
    failed = ev.Failed(107.0, "MachineError", "out of memory", "lower micro_batch", "step 3", "Traceback …")
    folder = make_run(RUN, [*story()[:5], failed, ev.StateChanged(107.1, "failed")])
    folder.stderr.write_text("last words\n")
    error = runs.show_run(RUN)["error"]
    assert (error["message"], error["hint"], error["where"]) == ("out of memory", "lower micro_batch", "step 3")
    assert error["stderr"] == "last words"
    assert [row.id for row in runs.list_runs(RunFilter(text="memory"))] == [RUN]


def test_that_compared_runs_show_only_what_differs() -> None:
    make_run(RUN)
    other = "20261124-080000-boolq-lora-beef"
    train = {"learning_rate": 1e-3, "max_steps": 4}
    make_run(other, story(offset=0.5), train=train, data={"source": "library:boolq", "max_length": 256})
    runs.refresh()
    found = runs.compare([RUN, other])
    assert [row.id for row in found.runs] == [RUN, other]
    assert {line.field: line.values for line in found.config} == {
        "train.learning_rate": (2e-4, 1e-3),
        "data.max_length": (512, 256),
    }
    losses = next(line for line in found.metrics if line.name == "loss")
    assert [value and value["last"] for value in losses.values] == [1.0, 1.5]


def test_that_curves_export_as_one_line_per_step(tmp_path: Path) -> None:
    make_run(RUN, [*story(), ev.Metrics(110.0, [5], {"loss": [math.nan]})])
    runs.refresh()
    path = tmp_path / "curves.csv"
    assert runs.export_curves(RUN, path) == 6
    lines = path.read_text().splitlines()
    assert lines[0] == "step,eval_accuracy,eval_loss,loss,seconds,tokens"
    assert lines[1] == "0,0.5,5.0,,,"
    assert lines[2] == "1,,,4.0,0.5,100.0"
    assert lines[-1] == "5,,,nan,,"
    with pytest.raises(MachineError):
        runs.export_curves(RUN, tmp_path / "missing" / "curves.csv")


def test_that_a_run_is_found_by_what_people_type() -> None:
    make_run("20261124-063100-one-aaaa", name="one")
    make_run("20261124-073100-two-bbbb", name="two")
    append(home().runs / "20261124-073100-two-bbbb", [])
    assert runs.find_run("20261124-06").name == "one"
    assert runs.find_run("two").id == "20261124-073100-two-bbbb"
    with pytest.raises(UserError, match="2 runs match '2026'") as several:
        runs.find_run("2026")
    assert "20261124-063100-one-aaaa  one" in several.value.hint
    with pytest.raises(UserError, match="no run 'twoo'") as none:
        runs.find_run("twoo")
    assert "did you mean 'two'" in none.value.hint


def test_that_last_is_the_newest_run() -> None:
    make_run("20261124-063100-one-aaaa").labels.write_text('{"created": 10.0}')
    make_run("20261124-053100-two-bbbb").labels.write_text('{"created": 20.0}')
    assert runs.find_run("last").id == "20261124-053100-two-bbbb"


def test_that_a_run_without_labels_is_as_old_as_its_id_says() -> None:
    folder = make_run("20261124-063100-one-aaaa")
    folder.labels.unlink()
    make_run("99999999-999999-odd-aaaa").labels.unlink()
    runs.refresh()
    created = {row.id: row.created for row in runs.list_runs()}
    assert created["20261124-063100-one-aaaa"] == 1795501860.0
    assert abs(created["99999999-999999-odd-aaaa"] - time.time()) < 60


def test_that_watching_gives_every_event_until_the_worker_is_gone() -> None:
    folder = make_run(RUN, story()[:4])
    lock = RunLock(folder.lock)

    def work() -> None:
        for event in story()[4:]:
            append(folder.path, [event])
            time.sleep(0.005)
        lock.close()

    worker = threading.Thread(target=work)
    worker.start()
    seen = list(runs.watch(RUN, interval_s=0.01))
    worker.join()
    assert seen == story()


def test_that_watching_ends_when_nobody_wants_to_know() -> None:
    folder = make_run(RUN, story()[:4])
    with RunLock(folder.lock):
        answers = iter([False, False, True])
        assert len(list(runs.watch(RUN, interval_s=0.0, stopped=lambda: next(answers)))) == 4


def test_that_a_refresh_without_news_takes_milliseconds_for_hundreds_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for number in range(300):
        make_run(f"20261124-063100-run-{number:04x}", story())
    assert len(runs.refresh()) == 300

    def again() -> float:
        before = time.process_time()
        assert runs.refresh() == set()
        return time.process_time() - before

    assert min(again() for _ in range(3)) < 0.05


def test_that_two_processes_refresh_at_once_and_count_once(studio_home: Path) -> None:
    folder = make_run(RUN, [ev.Metrics(1.0, [step], {"loss": [1.0]}) for step in range(3000)], launched=False)
    code = "from studio.service import runs; runs.refresh()"
    others = [subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3]) for _ in range(2)]
    runs.refresh()
    assert [other.wait(30) for other in others] == [0, 0]
    append(folder.path, [ev.Metrics(1.0, [3000], {"loss": [1.0]})])
    runs.refresh()
    assert runs.curve(RUN, "loss")[0].tolist() == list(range(3001))


def test_that_a_damaged_catalog_is_reported_and_rebuilt() -> None:
    make_run(RUN)
    runs.refresh()
    home().catalog.write_bytes(b"rubbish" * 1000)
    assert any("damaged" in problem.message for problem in runs.check())
    assert runs.rebuild().runs == 1
    assert runs.check() == []
    assert states() == {RUN: "completed"}


def test_that_the_facade_alone_loads_no_database_library() -> None:
    code = "import sys; from studio.service import runs, settings; assert 'peewee' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
