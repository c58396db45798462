"""Devices that this machine does not have, and specs put on another device."""

import copy
from collections.abc import Mapping
from typing import Any

from studio.core.facts import DeviceFacts
from studio.core.units import GIB

AMPERE = (8, 6)


def gpu_of(vram_gib: float, name: str | None, capability: tuple[int, int] = AMPERE) -> DeviceFacts:
    """An NVIDIA GPU with that much memory, all of it free; a name such as "RTX 4090" tells its speed."""
    bytes_ = int(vram_gib * GIB)
    return DeviceFacts(
        id=f"{name or 'GPU'}, {vram_gib:g} GiB",
        name=name or "GPU",
        kind="cuda",
        total_bytes=bytes_,
        free_bytes=bytes_,
        compute_capability=capability,
        bf16=capability >= (8, 0),
    )


def on_device(raw: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The spec with another device; a spec whose ``train`` is no mapping stays wrong for the validation to say so."""
    changed = copy.deepcopy(dict(raw))
    train = changed.setdefault("train", {})
    if isinstance(train, dict):
        train["device"] = device
    return changed
