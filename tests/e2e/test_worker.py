"""Real workers: finished, stopped, paused, killed at random moments, left alone by a dying starter."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.core.events import Metrics
from studio.core.paths import import_root
from studio.core.state import fold
from studio.rundir.layout import read_json
from studio.rundir.lock import is_alive
from studio.rundir.log import read_all_events
from studio.service import control_run, runs
from studio.service.start_run import run_folder, start_run
from tests.e2e.conftest import kill_worker, losses, wait_for, wait_until_ended
from tests.helpers import tiny


def state_of(run_id: str) -> str:
    runs.refresh()
    return str(runs.show_run(run_id)["state"])


def step_of(run_id: str) -> int:
    return fold(read_all_events(run_folder(run_id).events)).step


def test_that_a_run_ends_completed_with_an_adapter_and_its_numbers(tiny_llama: Path, questions: Path) -> None:
    run_id = start_run(tiny.questions_spec(tiny_llama, questions))
    folder = wait_until_ended(run_id)
    assert state_of(run_id) == "completed"
    shown = runs.show_run(run_id)
    assert shown["measured"]["seconds_per_step"] > 0
    assert shown["measured"]["peak_bytes"] > 0
    assert shown["metrics"]["loss"]["step"] == 8
    assert (folder.artifacts / "adapter" / "adapter_model.safetensors").is_file()
    assert {"torch", "transformers", "driver"} <= read_json(folder.worker).keys()
    assert folder.stderr.read_text() == ""
    assert len(losses(folder)) == 8


def test_that_a_paused_run_frees_its_process_and_goes_on_where_it_was(tiny_llama: Path, questions: Path) -> None:
    run_id = start_run(tiny.questions_spec(tiny_llama, questions, max_steps=400, eval_every=400, save_every=400))
    wait_for(lambda: step_of(run_id) >= 5)
    control_run.pause(run_id)
    folder = wait_until_ended(run_id)
    assert state_of(run_id) == "paused"
    paused_at = step_of(run_id)
    assert 5 <= paused_at < 400
    control_run.resume(run_id)
    wait_for(lambda: step_of(run_id) > paused_at)
    control_run.stop(run_id)
    wait_until_ended(run_id)
    assert state_of(run_id) == "stopped"
    assert sorted(losses(folder)) == list(range(1, step_of(run_id) + 1))
    assert (folder.artifacts / "adapter" / "pet_weights.safetensors").is_file()


def test_that_a_worker_killed_at_twenty_random_moments_repeats_the_uninterrupted_losses(
    tiny_llama: Path, questions: Path
) -> None:
    chance = random.Random(7)
    spec = tiny.questions_spec(tiny_llama, questions, max_steps=400, eval_every=100, save_every=2)
    spec["method"]["placements"][0]["params"]["dropout"] = 0.1
    reference = start_run(spec)
    whole = losses(wait_until_ended(reference))
    assert len(whole) == 400

    run_id = start_run(spec)
    folder = run_folder(run_id)
    kills = 0
    while kills < 20:
        before = step_of(run_id)
        # four kills fall into the start-up, the others into training, a few steps apart
        if kills % 5 == 0:
            time.sleep(chance.uniform(0.0, 2.5))
        else:
            wait_for(lambda start=before: step_of(run_id) >= min(start + 2, 399) or not is_alive(folder.path))
            time.sleep(chance.uniform(0.0, 0.05))
        if not is_alive(folder.path):
            break  # it finished between two kills
        kill_worker(folder)
        kills += 1
        assert state_of(run_id) == "crashed"
        control_run.resume(run_id)
    wait_until_ended(run_id)
    assert state_of(run_id) == "completed"
    assert kills == 20
    assert losses(folder) == whole


def test_that_a_run_survives_the_kill_of_the_process_that_started_it(
    tiny_llama: Path, questions: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, json, time; from studio.service.start_run import start_run\n"
        "print(start_run(json.loads(sys.argv[1])), flush=True); time.sleep(60)"
    )
    import json

    spec = tiny.questions_spec(tiny_llama, questions, max_steps=40)
    starter = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(spec)], cwd=import_root(), stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    run_id = starter.stdout.readline().strip()
    starter.kill()
    starter.wait()
    starter.stdout.close()
    assert is_alive(run_folder(run_id).path)
    wait_until_ended(run_id)
    assert state_of(run_id) == "completed"


def test_that_a_model_gone_after_planning_is_a_clear_failure(tmp_path: Path, questions: Path) -> None:
    model = tiny.make_llama(tmp_path / "model")
    from studio.service.start_run import create_run

    folder = create_run(tiny.questions_spec(model, questions))
    (model / "model.safetensors").unlink()
    from studio.rundir.launch import launch

    launch(folder)
    wait_until_ended(folder.id)
    snapshot = fold(read_all_events(folder.events))
    assert snapshot.state == "failed"
    assert snapshot.error is not None
    assert str(model) in snapshot.error.where + snapshot.error.message
    assert not snapshot.error.traceback


@pytest.mark.parametrize("request_", ["stop", "pause"])
def test_that_requests_to_a_run_at_rest_are_refused(tiny_llama: Path, questions: Path, request_: str) -> None:
    from studio.core.errors import UserError

    run_id = start_run(tiny.questions_spec(tiny_llama, questions, max_steps=1))
    wait_until_ended(run_id)
    with pytest.raises(UserError, match="not at work"):
        getattr(control_run, request_)(run_id)
    runs.refresh()
    with pytest.raises(UserError, match="completed"):
        control_run.resume(run_id)


def test_that_metrics_are_bundled_to_about_ten_events_a_second(tiny_llama: Path, questions: Path) -> None:
    run_id = start_run(tiny.questions_spec(tiny_llama, questions, max_steps=150, eval_every=150, save_every=150))
    folder = wait_until_ended(run_id)
    metrics = [event for event in read_all_events(folder.events) if isinstance(event, Metrics)]
    seconds = metrics[-1].time - metrics[0].time
    assert len(metrics) <= 12 * seconds + 4
