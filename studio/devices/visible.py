"""Which GPUs the CUDA runtime will number as ``cuda:0``, ``cuda:1``, …"""

from collections.abc import Sequence


def visible_gpus(uuids: Sequence[str], setting: str | None) -> list[str]:
    """The UUIDs in CUDA's numbering, given ``CUDA_VISIBLE_DEVICES`` (None when it is not set).

    Follows the runtime: the list ends at its first entry that names no GPU. The launcher sets
    ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` so that both sides count alike.
    """
    if setting is None:
        return list(uuids)
    chosen: list[str] = []
    for entry in setting.split(","):
        uuid = _resolve(entry.strip(), uuids)
        if uuid is None or uuid in chosen:
            break
        chosen.append(uuid)
    return chosen


def _resolve(entry: str, uuids: Sequence[str]) -> str | None:
    if entry.startswith("MIG-"):
        return entry  # NVML takes a MIG instance's UUID like a GPU's
    if entry.startswith("GPU-"):
        return next((uuid for uuid in uuids if uuid.startswith(entry)), None)
    if entry.isdecimal() and int(entry) < len(uuids):
        return uuids[int(entry)]
    return None
