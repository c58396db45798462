"""A real worker under a real limit: allocations fail, the run goes on or tells why it cannot."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.cli.app import run
from studio.core.events import Noticed
from studio.core.paths import import_root
from studio.core.state import fold
from studio.rundir.launch import worker_environment
from studio.rundir.layout import RunFolder, write_json
from studio.rundir.log import read_all_events
from studio.service import control_run, runs
from studio.service.start_run import create_run, start_run
from tests.e2e.conftest import losses, wait_until_ended
from tests.helpers import tiny

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's data segment")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda:0",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU on this machine"),
        ],
    ),
]
MIB = 2**20
# The worker as it is, but that from the first step on it may allocate only so much more than it holds by then.
CRAMPED = """
import resource, sys
import torch
import studio.engine.run as session
from studio.worker.__main__ import main

train, room, device = session.train, int(sys.argv[2]), sys.argv[3]

def cramped(*arguments):
    if device == "cpu":
        status = open("/proc/self/status").read()
        held = int(status.split("VmData:")[1].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (held + room, held + room))
    else:
        torch.cuda.empty_cache()
        total = torch.cuda.mem_get_info(device)[1]
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + room) / total, device)
    return train(*arguments)

session.train = cramped
sys.exit(main([sys.argv[1]]))
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose rows take tens of MiB each."""
    return tiny.make_llama(tmp_path_factory.mktemp("wide-llama"), inner=32_768)


def work(folder: RunFolder, room_bytes: int, device: str) -> int:
    """Work on a run with so much room; the worker's exit code."""
    write_json(folder.worker, {"interpreter": sys.executable})  # as the launcher does
    command = [sys.executable, "-P", "-c", CRAMPED, str(folder.path), str(room_bytes), device]
    return subprocess.run(
        command, cwd=import_root(), env=worker_environment(), capture_output=True, check=False, timeout=120
    ).returncode


def spec(model: Path, questions: Path, **train: Any) -> dict[str, Any]:
    return tiny.questions_spec(model, questions, micro_batch=8, precision="fp32", max_steps=4, **train)


@pytest.mark.parametrize("device", DEVICES)
def test_that_a_worker_short_of_memory_goes_on_with_the_same_losses(wide: Path, questions: Path, device: str) -> None:
    whole = losses(wait_until_ended(start_run(spec(wide, questions, device=device))))
    folder = create_run(spec(wide, questions, device=device))
    assert work(folder, 112 * MIB, device) == 0
    events = list(read_all_events(folder.events))
    warnings = [event.message for event in events if isinstance(event, Noticed) and event.level == "warning"]
    assert warnings
    assert "instead of 8 rows" in warnings[0]
    assert fold(events).state == "completed"
    assert losses(folder) == pytest.approx(whole, abs=2e-5)
    state = json.loads((folder.checkpoints / "4" / "state.json").read_text())
    assert state["progress"]["micro_batch"] < 8


@pytest.mark.parametrize("device", DEVICES)
def test_that_a_worker_without_room_for_one_row_fails_with_the_report(
    wide: Path, questions: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    folder = create_run(spec(wide, questions, device=device))
    assert work(folder, 3 * MIB, device) == 1
    runs.refresh()
    shown = runs.show_run(folder.id)
    assert shown["state"] == "failed"
    error = shown["error"]
    assert error["error"] == "OutOfMemory"
    assert error["traceback"] == ""
    details = error["details"]
    assert details["asked_bytes"] > MIB / 4
    assert details["held"]["weights"] > 2 * 3 * 32 * 32_768 * 4
    assert set(details["foreseen"]["parts"]) >= {"weights", "activations", "optimizer"}
    assert sum(details["held"].values()) == details["held_bytes"]

    assert run(["runs", "show", folder.id]) == 0
    told = capsys.readouterr().out
    assert "more asked for" in told
    assert "Held" in told
    assert "Foreseen" in told
    control_run.resume(folder.id)  # with all the memory there is
    wait_until_ended(folder.id)
    runs.refresh()
    assert runs.show_run(folder.id)["state"] == "completed"
