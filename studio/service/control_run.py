"""Asking a run's worker to stop, pause or save; the worker answers at its next step."""

import time

from studio.core.errors import UserError
from studio.rundir.control import Request, send
from studio.rundir.launch import kill
from studio.rundir.lock import is_alive
from studio.service.start_run import resume_run, run_folder

__all__ = ["kill_run", "pause", "resume", "save_now", "stop", "wait_until_ended"]


def stop(run_id: str) -> None:
    """Save a checkpoint at the next step and end."""
    _ask(run_id, "stop")


def pause(run_id: str) -> None:
    """Save a checkpoint at the next step, free the device and wait to be resumed."""
    _ask(run_id, "pause")


def save_now(run_id: str) -> None:
    """Save a checkpoint at the next step and go on."""
    _ask(run_id, "save_now")


def resume(run_id: str) -> None:
    """Continue from the last checkpoint."""
    resume_run(run_id)


def kill_run(run_id: str) -> bool:
    """End a worker that does not answer: terminate, then kill. Whether one was running."""
    return kill(run_folder(run_id))


def wait_until_ended(run_id: str, timeout_s: float) -> bool:
    """Wait for the worker to let go of the run; whether it did in time."""
    folder = run_folder(run_id)
    deadline = time.monotonic() + timeout_s
    while is_alive(folder.path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _ask(run_id: str, request: Request) -> None:
    folder = run_folder(run_id)
    if not is_alive(folder.path):
        hint = f"`pet-studio runs show {run_id}` tells its state; `runs resume` continues one that has not completed"
        raise UserError("the run is not at work", where=run_id, hint=hint)
    send(folder.control, request)
