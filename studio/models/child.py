"""Helpers in a process of their own: started with a request, watched by progress lines, stopped on cancel."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from studio.core.errors import Cancelled, MachineError, StudioError, UserError
from studio.core.paths import home, import_root
from studio.core.progress import CancelCheck, Progress, ignore_progress, never

Main = Callable[[Progress], Mapping[str, Any]]

_POLL_S = 0.1
_GRACE_S = 5.0
_ERRORS: dict[str, type[StudioError]] = {"user": UserError, "machine": MachineError, "failed": StudioError}


def run_child(
    module: str,
    arguments: Sequence[str] = (),
    *,
    request: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> dict[str, Any]:
    """Run ``python -m module arguments`` to its end and return its result.

    ``request`` goes to its stdin as JSON, which keeps secrets out of the process list. Raises what the child
    reports as its error, ``Cancelled`` after stopping it, and MachineError when the system killed it.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, encoding="utf-8",
            cwd=import_root(), env=_environment(environment or {}),
        )  # fmt: skip
        try:
            _send(process, request or {})
            last = _follow(process, progress or ignore_progress, cancelled or never)
            _wait(process)
        except BaseException:
            process.terminate()
            _wait(process)
            raise
        if "result" in last and process.returncode == 0:
            return dict(last["result"])
        raise _failure(module, process.returncode, last.get("error"), stderr)


def child_main(main: Main) -> int:
    """The other side: run ``main`` in the child, report its progress and result, and return the exit code.

    Whatever libraries print to stdout goes to stderr, so that stdout carries nothing but the protocol.
    """
    channel, sys.stdout = sys.stdout, sys.stderr

    def send(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    try:
        result = main(lambda phase, fraction: send(phase=phase, progress=fraction))
    except StudioError as error:
        kind = next((name for name, cls in _ERRORS.items() if isinstance(error, cls)), "failed")
        send(error={"kind": kind, "message": error.message, "where": error.where, "hint": error.hint})
        return error.exit_code
    send(result=dict(result))
    return 0


def read_request() -> dict[str, Any]:
    """The request that ``run_child`` sent to this process."""
    return dict(json.load(sys.stdin))


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {
        "OMP_WAIT_POLICY": "passive",  # spinning threads crawl as soon as anything else wants a core
        **os.environ,
        "PYTHONPATH": str(import_root()),
        "PYTHONUNBUFFERED": "1",
        "PET_STUDIO_HOME": str(home().root),
        **extra,
    }


def _send(process: subprocess.Popen[str], request: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    try:
        with process.stdin as stdin:
            json.dump(request, stdin)
    except BrokenPipeError:
        return  # it ended before it read anything; its exit code and stderr tell why


def _follow(process: subprocess.Popen[str], progress: Progress, cancelled: CancelCheck) -> dict[str, Any]:
    """Pass progress on until the child closes its stdout; return its last message."""
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
    last: dict[str, Any] = {}
    while True:
        if cancelled():
            raise Cancelled
        try:
            line = lines.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if line is None:
            return last
        last = _parse(line) or last
        if "phase" in last:
            progress(last["phase"], last.get("progress"))


def _pump(stream: IO[str], lines: "queue.Queue[str | None]") -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _parse(line: str) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _wait(process: subprocess.Popen[str]) -> None:
    """Wait for a child that should end by itself; kill it when it does not."""
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _failure(module: str, code: int, error: Mapping[str, str] | None, stderr: IO[str]) -> StudioError:
    if error:
        return _ERRORS[error["kind"]](error["message"], where=error["where"], hint=error["hint"])
    if code < 0:
        return MachineError(
            f"the helper {module} was killed by signal {-code}",
            hint="signal 9 most often means that the machine ran out of memory: close other programs and try again",
        )
    stderr.seek(0)
    lines = [line for line in stderr.read()[-4000:].splitlines() if line.strip()]
    return StudioError(f"the helper {module} ended with exit code {code}", hint="\n  ".join(lines[-5:]))
