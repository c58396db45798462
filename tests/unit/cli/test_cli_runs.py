"""The runs and catalog commands, on run folders written as a worker writes them."""

import json
import threading
import time
from pathlib import Path

import pytest

from studio.cli import follow as following
from studio.core import events as ev
from studio.core.paths import home
from studio.rundir.lock import RunLock
from tests.helpers.runs import append, make_run, story
from tests.unit.cli.conftest import Cli

RUN = "20261124-063100-boolq-lora-4f2a"


def test_that_an_empty_catalog_says_what_to_do(cli: Cli) -> None:
    answer = cli("runs", "list")
    assert (answer.code, answer.out) == (0, "")
    assert "quickstart" in answer.err
    assert cli("runs", "list", "--json").json == []


def test_that_runs_are_listed_filtered_and_paged(cli: Cli) -> None:
    make_run(RUN)
    make_run("20261124-073100-other-bbbb", story(end="stopped"), name="other")
    text = cli("runs", "list").out
    assert RUN in text
    assert "460,800" in text
    assert "5.0000 > 2.0000" in text
    listed = cli("runs", "list", "--json", "--sort", "name").json
    assert [row["id"] for row in listed] == [RUN, "20261124-073100-other-bbbb"]
    assert listed[0]["eval_after"] == 2.0
    assert "key" not in listed[0]
    assert len(cli("runs", "list", "--json", "--search", "other").json) == 1
    assert cli("runs", "list", "--search", "nowhere").err == "no run matches\n"
    assert len(cli("runs", "list", "--json", "--state", "stopped", "--state", "failed").json) == 1
    assert "1 more: --offset 1" in cli("runs", "list", "--limit", 1).out


def test_that_a_run_is_shown_as_text_and_json(cli: Cli) -> None:
    folder = make_run(RUN)
    shown = cli("runs", "show", "last", "--json").json
    assert shown["id"] == RUN
    assert shown["folder"] == str(folder.path)
    text = cli("runs", "show", RUN[:20]).out
    assert "completed" in text
    assert "1.5 Wh" in text
    assert "eval_accuracy" in text


def test_that_labels_are_set_shown_and_cleared(cli: Cli) -> None:
    make_run(RUN)
    assert cli("runs", "tag", "last", "paper", "best", "--json").json["tags"] == ["best", "paper"]
    assert cli("runs", "tag", "last", "--remove", "best", "--json").json["tags"] == ["paper"]
    assert "paper" in cli("runs", "tag", "last").out
    assert cli("runs", "note", "last", "hello", "--json").json["notes"] == "hello"
    assert "hello" in cli("runs", "note", "last").out
    assert cli("runs", "note", "last", "", "--json").json["notes"] == ""
    assert cli("runs", "rename", "last", "better", "--json").json["name"] == "better"
    assert cli("runs", "star", "last", "--json").json["star"] is True
    assert cli("runs", "star", "last", "--off", "--json").json["star"] is False
    assert [row["name"] for row in cli("runs", "list", "--json", "--tag", "paper").json] == ["better"]


def test_that_the_trash_and_deletion_keep_their_words(cli: Cli) -> None:
    make_run(RUN)
    assert cli("runs", "trash", RUN, "--json").json["trashed"] is True
    assert cli("runs", "list", "--json").json == []
    assert len(cli("runs", "list", "--trash", "--json").json) == 1
    assert cli("runs", "restore", RUN, "--json").json["trashed"] is False
    assert cli("runs", "delete", RUN, "--yes").out == f"deleted {RUN}\n"
    assert not (home().runs / RUN).exists()


def test_that_runs_are_compared(cli: Cli) -> None:
    make_run(RUN)
    other = make_run("20261124-073100-other-bbbb", story(offset=1.0), name="other").id
    found = cli("runs", "compare", RUN, other, "--json").json
    assert found["runs"] == [RUN, other]
    assert found["config"] == {"name": ["boolq-lora", "other"]}
    assert [value["last"] for value in found["metrics"]["loss"]] == [1.0, 2.0]
    assert "other bbbb" in cli("runs", "compare", RUN, other).out


def test_that_curves_are_exported_to_the_folder_named(cli: Cli, tmp_path: Path) -> None:
    make_run(RUN)
    result = cli("runs", "export-curves", "last", "--out", tmp_path / "reports", "--json").json
    assert result == {"path": str(tmp_path / "reports" / f"{RUN}-curves.csv"), "lines": 5}
    assert Path(result["path"]).read_text().startswith("step,")


def test_that_an_ended_run_cannot_be_stopped(cli: Cli) -> None:
    make_run(RUN)
    for command in ("stop", "pause", "save-now"):
        answer = cli("runs", command, RUN)
        assert answer.code == 2
        assert "not at work" in answer.err


def test_that_requests_reach_the_worker(cli: Cli) -> None:
    folder = make_run(RUN, story()[:5])
    with RunLock(folder.lock):
        for command in ("pause", "save-now", "stop"):
            assert cli("runs", command, RUN, "--json").json == {"id": RUN, "state": "running"}
    requests = [json.loads(line)["request"] for line in folder.control.read_text().splitlines()]
    assert requests == ["pause", "save_now", "stop"]


def test_that_watching_prints_the_log_as_json_lines(cli: Cli) -> None:
    folder = make_run(RUN)
    answer = cli("runs", "watch", "last", "--json")
    assert answer.code == 0
    assert answer.out == folder.events.read_text()


def test_that_watching_in_a_pipe_prints_what_matters(cli: Cli) -> None:
    make_run(RUN)
    lines = cli("runs", "watch", "last").out.splitlines()
    assert lines[0] == "starting"
    assert "eval at step 0: loss 5.0000, accuracy 0.5000" in lines
    assert "checkpoint at step 2 (1000 B, best so far)" in lines
    assert any(line.startswith("step 4/4   loss 1.0000") for line in lines)
    assert lines[-4:] == [
        f"completed: {home().runs / RUN}",
        "held-out, untuned -> step 4: loss 5.0000 -> 2.0000, accuracy 0.5000 -> 0.8000",
        f"adapter: {home().runs / RUN / 'artifacts/adapter'}",
        "7 s, peak 9.54 MiB, 1.5 Wh",
    ]


def test_that_watching_on_a_terminal_keeps_one_line_moving(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(RUN)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    answer = cli("runs", "watch", "last")
    assert answer.code == 0
    assert "eval at step 4" in answer.out
    assert "step 4/4" in answer.out


@pytest.mark.parametrize(
    ("last", "code", "words"),
    [
        ([ev.Failed(9.0, "MachineError", "out of memory", "lower micro_batch", "step 3"),
          ev.StateChanged(9.0, "failed")], 1, ["failed: out of memory (step 3)", "lower micro_batch"]),
        ([], 1, ["crashed: the worker ended without a word", "Segmentation fault"]),
        ([ev.StateChanged(9.0, "stopped")], 0, []),
        ([ev.StateChanged(9.0, "paused")], 0, []),
    ],
)  # fmt: skip
def test_that_the_end_of_a_run_decides_the_exit_code(
    cli: Cli, last: list[ev.Event], code: int, words: list[str]
) -> None:
    folder = make_run(RUN, [*story()[:5], *last])
    folder.stderr.write_text("Segmentation fault\n")
    answer = cli("runs", "watch", RUN)
    assert answer.code == code
    for word in words:
        assert word in answer.err


def test_that_interrupting_leaves_the_run_running_and_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(RUN, story()[:5])

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    with RunLock(folder.lock):
        monkeypatch.setattr("studio.service.runs.time.sleep", interrupted)
        answer = cli("runs", "watch", RUN)
    assert answer.code == 0
    assert "the run goes on" in answer.err
    assert not folder.control.exists()


def test_that_a_run_is_followed_while_it_works(cli: Cli) -> None:
    folder = make_run(RUN, story()[:3])
    lock = RunLock(folder.lock)

    def work() -> None:
        for event in story()[3:]:
            append(folder.path, [event])
            time.sleep(0.01)
        lock.close()

    worker = threading.Thread(target=work)
    worker.start()
    answer = cli("runs", "watch", RUN, "--json")
    worker.join()
    assert answer.code == 0
    assert answer.out == folder.events.read_text()


def test_that_losses_that_are_no_numbers_are_shown_as_such() -> None:
    assert following.describe(ev.Evaluated(1.0, 3, {"loss": float("nan")}, 1.0)) == "eval at step 3: loss nan"


def test_that_the_catalog_is_rebuilt_and_checked(cli: Cli) -> None:
    make_run(RUN)
    assert cli("catalog", "check").out == "no problems\n"
    home().catalog.write_bytes(b"rubbish" * 1000)
    damaged = cli("catalog", "check", "--json")
    assert damaged.code == 1
    assert "damaged" in damaged.json["problems"][0]["message"]
    assert cli("runs", "list").code == 2
    assert cli("catalog", "rebuild", "--json").json == {"runs": 1, "problems": []}
    assert cli("catalog", "rebuild").out == "1 runs\n"
    assert cli("catalog", "check").code == 0


def test_that_energy_is_shown_with_its_meter_cost_and_source(cli: Cli) -> None:
    measured = ev.Measured(
        108.0, 1, 7.0, 0.5, 200.0, 1.5, energy_method="both", unmetered_s=0.2, shared=True
    )  # fmt: skip
    folder = make_run(RUN, [*story()[:-2], measured, story()[-1]])
    rates = {"tariff_per_kwh": 0.5, "currency": "CHF", "grid": "DEU", "g_per_kwh": 400, "source": "x", "year": 2023}
    folder.energy.write_text(json.dumps(rates))
    text = cli("runs", "show", RUN).out
    assert "1.5 Wh (both, 13.50 J a token, other processes included)" in text
    assert "7.50e-04 CHF (0.5 per kWh)" in text
    assert "0.6000 g (400 g per kWh, DEU 2023)" in text


def test_that_precisions_are_compared_by_power(cli: Cli) -> None:
    make_run(RUN)
    make_run("20261124-073100-other-bbbb", name="other")
    assert cli("runs", "power", "other").code == 2
    report = cli("runs", "power", RUN, "other", "--json").json
    assert report["groups"][0]["precision"] == "bf16"
    assert report["groups"][0]["measures"]["mean_w"]["mean"] == 1.5 * 3600 / 7
    answer = cli("runs", "power", RUN, "other")
    assert "771.43 ± 0.0000" in answer.out
    assert "all runs are in bf16" in answer.err
