"""The machine's devices, and which of them a run shall use."""

from studio.core.facts import DeviceFacts
from studio.devices import list_devices, sample

__all__ = ["choose_device", "list_devices", "sample"]


def choose_device(wanted: str, devices: list[DeviceFacts]) -> tuple[DeviceFacts | None, str]:
    """The device of that id (or, for ``auto``, the one with most free memory that can train) and the reason."""
    if wanted != "auto":
        named = next((device for device in devices if device.id == wanted), None)
        return named, "as the spec says"
    gpus = [device for device in devices if device.kind == "cuda"]
    if gpus:
        best = max(gpus, key=lambda device: device.free_bytes)
        return best, "the GPU with the most free memory" if len(gpus) > 1 else "the machine's GPU"
    return devices[0], "no NVIDIA GPU was found"
