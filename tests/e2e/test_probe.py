"""A probe measures a plan in a process of its own and leaves nothing but its figures, however it ends."""

import copy
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.cli.app import run
from studio.core.errors import Cancelled, InvalidSpecError, UserError
from studio.core.paths import import_root
from studio.service import control_run, runs
from studio.service.plan_run import plan_run
from studio.service.probe import run_probe
from studio.service.probe_evidence import find_probe
from studio.service.start_run import start_run
from tests.e2e.conftest import wait_for, wait_until_ended
from tests.helpers import tiny


@pytest.fixture
def spec(tiny_llama: Path, questions: Path) -> dict[str, Any]:
    return tiny.questions_spec(tiny_llama, questions, precision="fp32", micro_batch=4)


def nothing_left(home: Path) -> bool:
    """No run, no working folder, no child process."""
    folders = [path for path in (home / "probes").glob("*") if path.is_dir()]
    children = [child for child in psutil.Process().children(recursive=True) if child.is_running()]
    return not folders and not (home / "runs").exists() and not children


def test_that_a_probe_measures_what_the_run_then_takes(
    spec: dict[str, Any], studio_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    assert run(["probe", str(file)]) == 0
    assert nothing_left(studio_home)
    told = capsys.readouterr().out
    assert "Peak memory" in told
    assert "Per step" in told
    plan = plan_run(spec).plan
    assert plan is not None
    result = find_probe(plan)
    assert result is not None
    assert result.peak_phase
    assert (result.steps, result.micro_batch) == (3, 4)
    assert min(result.seconds_per_step, result.seconds_per_longest_step) > 0
    run_id = start_run(spec)
    wait_until_ended(run_id)
    runs.refresh()
    measured = runs.show_run(run_id)["measured"]
    assert result.peak_bytes == pytest.approx(measured["peak_bytes"], rel=0.05)


def test_that_the_evidence_is_of_plans_that_cost_the_same(spec: dict[str, Any], studio_home: Path) -> None:
    def plan_of(**train: Any) -> Any:
        return plan_run({**spec, "train": {**spec["train"], **train}}).plan

    assert find_probe(plan_of()) is None
    result = run_probe(spec, steps=2)
    assert find_probe(plan_of()) == result
    assert find_probe(plan_of(seed=5, learning_rate=1e-4, max_steps=50, effective_batch=16)) == result
    for change in ({"micro_batch": 2}, {"precision": "bf16"}, {"checkpointing": True}, {"packing": False}):
        assert find_probe(plan_of(**change)) is None
    other = copy.deepcopy(spec)
    other["method"]["placements"][0]["params"]["rank"] = 2
    assert find_probe(plan_run(other).plan) is None  # type: ignore[arg-type]
    (file,) = (studio_home / "probes").glob("*.json")
    file.write_text('{"peak_bytes": "many"}')  # damage counts for nothing
    assert find_probe(plan_of()) is None


def test_that_a_cancelled_probe_leaves_nothing(spec: dict[str, Any], studio_home: Path) -> None:
    phases: list[str] = []
    with pytest.raises(Cancelled):
        run_probe(
            spec, steps=100,
            progress=lambda phase, _: phases.append(phase), cancelled=lambda: "measuring steps" in phases,
        )  # fmt: skip
    assert phases[0] == "loading the model"
    assert nothing_left(studio_home)
    assert not list((studio_home / "probes").glob("*.json"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_that_a_killed_command_takes_its_worker_with_it(
    spec: dict[str, Any], studio_home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    command = [sys.executable, "-m", "studio", "probe", str(file), "--steps", "100"]
    process = subprocess.Popen(command, cwd=import_root(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if "measuring steps" in line:
                break
        (worker,) = psutil.Process(process.pid).children()
        os.kill(process.pid, number)
        process.wait(30)
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 15)
    wait_for(lambda: not list((studio_home / "probes").glob(".working-*")), 15)


def test_that_a_probe_beside_a_run_is_refused(spec: dict[str, Any], studio_home: Path) -> None:
    spec["train"] |= {"max_steps": 5000, "eval_every": 5000, "save_every": 5000}
    run_id = start_run(spec)
    with pytest.raises(UserError, match=f"{run_id} is at work on cpu") as caught:
        run_probe(spec)
    assert "pause" in caught.value.hint
    control_run.kill_run(run_id)
    assert not (studio_home / "probes").exists()


def test_that_a_wrong_spec_is_refused_with_all_its_problems(spec: dict[str, Any], studio_home: Path) -> None:
    spec["train"]["micro_batch"] = 3
    with pytest.raises(InvalidSpecError, match="1 problem"):
        run_probe(spec)
    assert not (studio_home / "probes").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's data segment")
def test_that_a_plan_that_does_not_fit_says_what_was_held_and_leaves_nothing(
    spec: dict[str, Any], studio_home: Path, tmp_path: Path
) -> None:
    model = tiny.make_llama(tmp_path / "wide", inner=131_072)
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({**spec, "model": {"source": f"path:{model}"}, "train": {"micro_batch": 16}}))
    limited = (
        "import resource, sys; limit = 600 * 2**20; resource.setrlimit(resource.RLIMIT_DATA, (limit, limit));"
        "from studio.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "probe", str(file)],
        cwd=import_root(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "error: out of memory, forward pass" in done.stderr
    assert "more asked for" in done.stderr
    assert nothing_left(studio_home)
    assert not list((studio_home / "probes").glob("*.json"))
