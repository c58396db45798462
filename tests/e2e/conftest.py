"""A tiny real model and dataset, and runs in real worker processes."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core.events import Metrics
from studio.rundir.launch import tail
from studio.rundir.layout import RunFolder, read_json
from studio.rundir.lock import is_alive
from studio.rundir.log import read_all_events
from studio.service import control_run
from studio.service.start_run import run_folder
from tests.helpers import tiny


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return tiny.make_questions(tmp_path / "questions.jsonl")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_worker_outlives_its_test(studio_home: Path) -> Iterator[None]:
    yield
    for folder in (studio_home / "runs").glob("*/run.lock"):
        if is_alive(folder.parent):
            control_run.kill_run(folder.parent.name)


def wait_for(what: Callable[[], Any], timeout_s: float = 60) -> Any:
    """Poll until ``what`` answers something true; the answer."""
    deadline = time.monotonic() + timeout_s
    while not (answer := what()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return answer


def wait_until_ended(run_id: str, timeout_s: float = 90) -> RunFolder:
    folder = run_folder(run_id)
    assert control_run.wait_until_ended(run_id, timeout_s), tail(folder.stderr)
    return folder


def kill_worker(folder: RunFolder) -> None:
    """``kill -9``, as an out-of-memory killer or an impatient person does."""
    os.kill(read_json(folder.worker)["pid"], signal.SIGKILL)
    wait_for(lambda: not is_alive(folder.path))


def losses(folder: RunFolder) -> dict[int, float]:
    """The loss of each step; a step that was repeated after a resume must repeat its loss."""
    seen: dict[int, float] = {}
    for event in read_all_events(folder.events):
        if isinstance(event, Metrics):
            for step, loss in zip(event.step, event.values["loss"], strict=True):
                assert seen.setdefault(step, loss) == loss, f"step {step} changed its loss after a resume"
    return seen
