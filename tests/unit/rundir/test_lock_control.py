"""Liveness by the lock, requests by the control file, folders all or nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.core.errors import MachineError, UserError
from studio.core.paths import import_root
from studio.rundir.control import ControlReader, send
from studio.rundir.layout import create_run_folder, read_json, write_json
from studio.rundir.lock import RunLock, is_alive

HOLD = """
import sys, time
from pathlib import Path
from studio.rundir.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_that_a_lock_is_held_once_and_freed(tmp_path: Path) -> None:
    assert not is_alive(tmp_path)
    with RunLock(tmp_path / "run.lock"):
        assert is_alive(tmp_path)
        with pytest.raises(UserError, match="another worker"):
            RunLock(tmp_path / "run.lock")
    assert not is_alive(tmp_path)


def test_that_the_kernel_frees_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run.lock")], cwd=import_root(), stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == b"held"
    assert is_alive(tmp_path)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    deadline = time.monotonic() + 5
    while is_alive(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(tmp_path)


def test_that_requests_arrive_in_order_and_once(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"
    send(path, "stop")
    reader = ControlReader(path)
    assert reader.poll() == []
    send(path, "save_now")
    send(path, "pause")
    with path.open("a") as file:
        file.write('nonsense\n{"request":"explode"}\n{"request":"st')
    assert reader.poll() == ["save_now", "pause"]
    with path.open("a") as file:
        file.write('op"}\n')
    assert reader.poll() == ["stop"]


def test_that_a_run_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path / "runs", "a", {"spec.json": {"x": 1}})
    assert read_json(folder.spec) == {"x": 1}
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(MachineError, match="cannot be written"):
        create_run_folder(blocked, "b", {"spec.json": {}})
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a"]


def test_that_json_is_replaced_atomically_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "worker.json"
    write_json(path, {"pid": 1})
    write_json(path, {"pid": 2})
    assert read_json(path) == {"pid": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["worker.json"]
    path.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        read_json(path)
