"""Helper processes: results, errors in words, cancel, and sudden death."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from studio.core.errors import Cancelled, MachineError, StudioError, UserError
from studio.core.paths import import_root
from studio.models import child
from studio.models.child import run_child


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> str:
    """A module whose main runs ``body`` with ``report`` and ``request`` at hand."""
    source = (
        "import os, signal, sys, time\n"
        f"sys.path.insert(0, {str(import_root())!r})\n"
        "from studio.core.errors import MachineError, UserError\n"
        "from studio.models.child import child_main, read_request\n"
        "def main(report):\n"
        "    request = read_request()\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "    return {}\n"
        "sys.exit(child_main(main))\n"
    )
    (folder / "helper_program.py").write_text(source)
    monkeypatch.setattr(child, "import_root", lambda: folder)
    return "helper_program"


def test_that_request_progress_and_result_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "print('noise from a library')\nreport('half', 0.5)\nreturn {'twice': 2 * request['n']}"
    seen: list[tuple[str, float | None]] = []
    module = program(tmp_path, monkeypatch, body)
    result = run_child(module, request={"n": 21}, progress=lambda *step: seen.append(step))
    assert result == {"twice": 42}
    assert seen == [("half", 0.5)]


def test_that_the_childs_error_is_raised_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = program(tmp_path, monkeypatch, "raise UserError('wrong', where='there', hint='do that')")
    with pytest.raises(UserError) as caught:
        run_child(module)
    assert (caught.value.message, caught.value.where, caught.value.hint) == ("wrong", "there", "do that")


def test_that_a_bug_in_the_child_shows_the_end_of_its_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudioError, match="exit code 1") as caught:
        run_child(program(tmp_path, monkeypatch, "1 / 0"))
    assert "ZeroDivisionError" in caught.value.hint


def test_that_a_killed_child_points_at_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError, match="signal 9") as caught:
        run_child(program(tmp_path, monkeypatch, "os.kill(os.getpid(), signal.SIGKILL)"))
    assert "memory" in caught.value.hint


def test_that_a_cancel_ends_even_a_child_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_GRACE_S", 0.2)
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nreport(str(os.getpid()), None)\ntime.sleep(60)"
    module, seen = program(tmp_path, monkeypatch, body), list[str]()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        run_child(module, progress=lambda phase, _: seen.append(phase), cancelled=lambda: bool(seen))
    assert time.monotonic() - start < 10
    assert not psutil.pid_exists(int(seen[0]))


def test_that_a_wrong_call_of_the_converter_shows_its_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "studio.worker.convert"], cwd=import_root(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr
