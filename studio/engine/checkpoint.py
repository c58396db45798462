"""Complete checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is written to a temporary name, flushed to the disk and renamed, so a folder named by its step
is always whole.
"""

import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.core.errors import MachineError, UserError

NumpyState = tuple[str, NDArray[np.uint32], int, int, float]
TENSORS, OPTIMIZER, RANDOM, STATE = "trainable.safetensors", "optimizer.pt", "random.pt", "state.json"


def save_checkpoint(
    root: Path,
    step: int,
    *,
    tensors: Mapping[str, Tensor],
    optimizer: Mapping[str, Any],
    state: Mapping[str, Any],
) -> Path:
    """Write ``root/STEP``; the path of the finished folder.

    Raises:
        MachineError: the disk is full or cannot be written; nothing is left behind.
    """
    final = root / str(step)
    partial = root / f".{step}.part"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
        torch.save(dict(optimizer), partial / OPTIMIZER)
        torch.save(random_state(), partial / RANDOM)
        (partial / STATE).write_text(json.dumps({"step": step, **state}), encoding="utf-8")
        for path in partial.iterdir():
            _flush(path)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _flush(root)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        shutil.rmtree(partial, ignore_errors=True)
        free = shutil.disk_usage(root).free if root.exists() else 0
        raise MachineError(
            f"the checkpoint cannot be written ({free / 1e9:.1f} GB free): {error}",
            where=str(final),
            hint="free some space, then resume the run",
        ) from error
    return final


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Trainable tensors, optimizer state and run state of a checkpoint; the random sources are set from it.

    Raises:
        UserError: a file is missing or damaged.
    """
    try:
        tensors = load_file(path / TENSORS)
        optimizer = torch.load(path / OPTIMIZER, weights_only=True)
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        set_random_state(torch.load(path / RANDOM, weights_only=True))
    except Exception as error:
        raise UserError(
            f"the checkpoint is damaged: {error}",
            where=str(path),
            hint="delete its folder to go on from the one before",
        ) from error
    return tensors, optimizer, state


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The trainable tensors of a checkpoint alone."""
    return load_file(path / TENSORS)


def latest_checkpoint(root: Path) -> Path | None:
    """The whole checkpoint with the highest step; leftovers of a killed writer are cleared away."""
    if not root.is_dir():
        return None
    for leftover in root.glob(".*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    whole = [p for p in root.iterdir() if p.name.isdigit() and (p / STATE).is_file()]
    return max(whole, key=lambda p: int(p.name), default=None)


def prune_checkpoints(root: Path, *, keep: int, best: int | None) -> list[int]:
    """Delete all but the last ``keep`` and the best one; the steps that went."""
    steps = sorted(int(p.name) for p in root.iterdir() if p.name.isdigit())
    doomed = [step for step in steps[:-keep] if step != best]
    for step in doomed:
        shutil.rmtree(root / str(step))
    return doomed


def random_state() -> dict[str, Any]:
    """The state of every random source, as tensors and plain values."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = cast("NumpyState", np.random.get_state(legacy=True))
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put every random source back to a saved state."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def folder_bytes(path: Path) -> int:
    """The size of all files below a folder."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
