"""Starting a worker that outlives its starter, and ending one that does not listen."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from studio.core.errors import MachineError
from studio.core.paths import import_root
from studio.rundir.layout import RunFolder, read_json, write_json
from studio.rundir.lock import INHERITED, RunLock

LEAKED = ("LD_LIBRARY_PATH", "QT_PLUGIN_PATH", "PYTHONHOME", "PYTHONPATH")


def launch(folder: RunFolder, *, python: str | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Start ``python -m studio.worker RUN_DIR`` detached; its process id.

    The worker gets its own session, the run's log files as output and the run's lock.

    Raises:
        UserError: another worker holds the run.
        MachineError: the interpreter does not start, or the folder cannot be written.
    """
    interpreter = python or sys.executable
    try:
        return _launch(folder, interpreter, environment or {})
    except OSError as error:
        raise MachineError(
            f"the run folder cannot be written: {error.strerror or error}",
            where=str(folder.path),
            hint="free some space or check the permissions, then resume the run",
        ) from error


def _launch(folder: RunFolder, interpreter: str, environment: Mapping[str, str]) -> int:
    with RunLock(folder.lock) as lock, folder.stdout.open("ab") as out, folder.stderr.open("ab") as err:
        env = {**worker_environment(), **environment}
        keep: tuple[int, ...] = ()
        if os.name == "posix":
            env[INHERITED] = str(lock.fd)
            keep = (lock.fd,)
        else:
            lock.close()
        try:
            process = subprocess.Popen(
                [interpreter, "-P", "-m", "studio.worker", str(folder.path)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=folder.path,
                close_fds=True, pass_fds=keep, start_new_session=os.name == "posix",
                creationflags=_DETACHED,
            )  # fmt: skip
        except OSError as error:
            raise MachineError(
                f"the training interpreter does not start: {error.strerror or error}", where=interpreter
            ) from error
        identity = {"pid": process.pid, "created": _created(process.pid), "interpreter": interpreter}
        try:
            write_json(folder.worker, identity)
        except MachineError:
            process.kill()  # nobody could stop a worker that is not on record
            process.wait()
            raise
    threading.Thread(target=process.wait, daemon=True).start()  # collects it, so no zombie stays behind
    return process.pid


def worker_environment() -> dict[str, str]:
    """This process's environment without what a frozen program leaks, our code first on the path."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("_PYI_") and key not in LEAKED}
    for name in LEAKED:
        original = os.environ.get(f"{name}_ORIG")
        if original:
            env[name] = original
    env["PYTHONPATH"] = str(import_root())
    env["PYTHONUNBUFFERED"] = "1"
    return env


def kill(folder: RunFolder, *, grace_s: float = 5.0) -> bool:
    """End the run's worker and its children: ask, wait, then kill. Whether one was running."""
    identity = read_json(folder.worker) if folder.worker.exists() else {}
    try:
        process = psutil.Process(identity["pid"])
        if abs(process.create_time() - identity["created"]) > 1:
            return False  # the pid belongs to somebody else by now
        children = process.children(recursive=True)
        process.terminate()
        _, alive = psutil.wait_procs([process], timeout=grace_s)
        for leftover in [*alive, *children]:
            if leftover.is_running():
                leftover.kill()
        psutil.wait_procs([process, *children], timeout=grace_s)
    except (psutil.NoSuchProcess, KeyError, TypeError):
        return False
    return True


def tail(path: Path, *, lines: int = 12, limit_bytes: int = 16_384) -> str:
    """The last lines of a log file; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit_bytes))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


_DETACHED: int = (
    getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    if os.name == "nt"
    else 0
)


def _created(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return time.time()
