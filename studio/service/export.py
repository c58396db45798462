"""Taking a run's result away: a copy that other programs load."""

import shutil
from pathlib import Path
from typing import Any

from studio.core.errors import MachineError, UserError
from studio.core.progress import CancelCheck, Progress
from studio.models.child import run_child
from studio.rundir.layout import RunFolder
from studio.service.start_run import run_folder

PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors")


def export_peft(run_id: str, out: Path) -> Path:
    """Copy the adapter in peft's format to the new folder ``out``, whole or not at all; its path.

    Raises:
        UserError: the run has no adapter yet, its method is no LoRA, or ``out`` exists.
        MachineError: the folder cannot be written.
    """
    adapter = _adapter(run_folder(run_id))
    if not (adapter / PEFT_FILES[0]).is_file():
        raise UserError(
            "peft has no format for this run's method", where=run_id,
            hint=f"the studio's own files are in {adapter}",
        )  # fmt: skip
    if out.exists():
        raise UserError("already exists", where=str(out), hint="choose a new folder")
    partial = out.with_name(f".{out.name}.part")
    try:
        partial.mkdir(parents=True)
        for name in PEFT_FILES:
            shutil.copyfile(adapter / name, partial / name)
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise MachineError(f"the export cannot be written: {error.strerror or error}", where=str(out)) from error
    return out


def export_merged(
    run_id: str, out: Path, *, progress: Progress | None = None, cancelled: CancelCheck | None = None
) -> dict[str, Any]:
    """Write the base model with the run's result merged in to the new folder ``out``, in a process of its own.

    Returns ``folder``, ``bytes``, ``precision`` (that in which the base is stored) and ``difference``, the largest
    change of a logit between tuned and merged.

    Raises:
        UserError: the run has no adapter yet, its method cannot be merged, or ``out`` exists.
        MachineError: memory or disk does not suffice.
    """
    folder = run_folder(run_id)
    _adapter(folder)
    if out.exists():
        raise UserError("already exists", where=str(out), hint="choose a new folder")
    arguments = [str(folder.path), str(out)]
    return run_child("studio.worker.merge", arguments, progress=progress, cancelled=cancelled)


def _adapter(folder: RunFolder) -> Path:
    adapter = folder.artifacts / "adapter"
    if not adapter.is_dir():
        raise UserError(
            "the run has no adapter yet", where=folder.id, hint="it is written when the run ends or is stopped"
        )
    return adapter
