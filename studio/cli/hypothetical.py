"""Estimates for a device that a spec does not name, or that this machine does not have."""

import copy
from collections.abc import Mapping
from typing import Any

from studio.core.errors import UserError
from studio.core.facts import DeviceFacts
from studio.core.units import GIB


def gpu_of(vram_gib: float, name: str | None) -> DeviceFacts:
    """An NVIDIA GPU with that much memory, all of it free; a name such as "RTX 4090" tells its speed."""
    bytes_ = int(vram_gib * GIB)
    return DeviceFacts(
        id=f"{name or 'GPU'}, {vram_gib:g} GiB",
        name=name or "GPU",
        kind="cuda",
        total_bytes=bytes_,
        free_bytes=bytes_,
        compute_capability=(8, 6),
        bf16=True,
    )


def id_of(name: str) -> str:
    """The id of this machine's device with that id or, as far as it is unique, that part of its name."""
    from studio.service.devices import list_devices

    devices = list_devices()
    found = [device.id for device in devices if name == device.id or name.lower() in device.name.lower()]
    if len(set(found)) != 1:
        listed = ", ".join(f"{device.id} ({device.name})" for device in devices)
        raise UserError(
            f"{len(found) or 'no'} devices of this machine match {name!r}",
            where="--device",
            hint=f"here are {listed}; add --vram for a GPU that is not here",
        )
    return found[0]


def on_device(raw: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The spec with another device; a spec whose ``train`` is no mapping stays wrong for the validation to say so."""
    changed = copy.deepcopy(dict(raw))
    train = changed.setdefault("train", {})
    if isinstance(train, dict):
        train["device"] = device
    return changed
