"""The machine's memory, as far as this process may use it."""

from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Ram:
    """Bytes of RAM in all and still to be had."""

    total_bytes: int
    free_bytes: int


def read_ram(cgroup: Path = CGROUP) -> Ram:
    """RAM within the limit of the container, if one is set."""
    import psutil

    memory = psutil.virtual_memory()
    limit = _container_limit(cgroup)
    if limit is None or limit.total_bytes >= memory.total:
        return Ram(memory.total, memory.available)
    return Ram(limit.total_bytes, min(limit.free_bytes, memory.available))


def _container_limit(cgroup: Path) -> Ram | None:
    """The limit of cgroup v2; file cache that the kernel would drop counts as free."""
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is None or used is None:
        return None
    return Ram(limit, max(0, limit - used + _droppable(cgroup / "memory.stat")))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such controller, or "max"
        return None


def _droppable(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
