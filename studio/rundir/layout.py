"""The names of a run folder's files, and how its immutable ones are written and read."""

import contextlib
import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import MachineError, UserError

UNFINISHED, DELETED = ".new-", ".deleted-"
ABANDONED_S = 3600.0


@dataclass(frozen=True)
class RunFolder:
    """One run on disk; the folder is the truth about the run."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def estimate(self) -> Path:
        return self.path / "estimate.json"

    @property
    def energy(self) -> Path:
        return self.path / "energy.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def control(self) -> Path:
        return self.path / "control.jsonl"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"

    @property
    def worker(self) -> Path:
        return self.path / "worker.json"

    @property
    def stdout(self) -> Path:
        return self.path / "stdout.log"

    @property
    def stderr(self) -> Path:
        return self.path / "stderr.log"

    @property
    def labels(self) -> Path:
        return self.path / "labels.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"


def create_run_folder(runs: Path, run_id: str, files: dict[str, Any]) -> RunFolder:
    """Make ``runs/run_id`` with the given JSON files in it, all or nothing.

    Raises:
        MachineError: the disk is full or the folder cannot be written.
    """
    partial = runs / f"{UNFINISHED}{run_id}-{secrets.token_hex(3)}"
    try:
        sweep(runs)
        partial.mkdir(parents=True)
        for name, content in files.items():
            write_json(partial / name, content)
        partial.rename(runs / run_id)
    except OSError as error:
        raise _refused(error, runs) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already if all went well
    return RunFolder(runs / run_id)


def sweep(runs: Path) -> None:
    """Delete what a process left behind that was killed while it made or deleted a run folder."""
    for leftover in (*runs.glob(f"{UNFINISHED}*"), *runs.glob(f"{DELETED}*")):
        with contextlib.suppress(OSError):  # finished or deleted at this moment
            if time.time() - leftover.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(leftover)


def write_json(path: Path, content: Any) -> None:
    """Write JSON to a temporary name, flush it to the disk, and rename: never a half-written file.

    Raises:
        MachineError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise _refused(error, path) from error
    finally:
        with contextlib.suppress(OSError):  # renamed already, or never made
            partial.unlink()


def _refused(error: OSError, path: Path) -> MachineError:
    return MachineError(
        f"cannot be written: {error.strerror or error}",
        where=str(path),
        hint="free some space, check the permissions, or choose another PET_STUDIO_HOME",
    )


def read_json(path: Path) -> Any:
    """The content of a JSON file; UserError naming it if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("is missing", where=str(path), hint="the run folder is not complete; delete the run") from error
    except ValueError as error:
        raise UserError(f"is damaged: {error}", where=str(path), hint="the run cannot be read; delete it") from error
