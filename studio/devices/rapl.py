"""Energy of the CPU packages from the RAPL counters, where this user may read them."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.devices.reading import Missing

POWERCAP = Path("/sys/class/powercap")
SHORTEST_MEAN_S = 0.2
MOST_W = 2000.0  # no package draws as much; what would have, was a counter that began anew


@dataclass(frozen=True)
class Package:
    """One CPU package: its counter file and where that wraps."""

    counter: Path
    wraps_at_uj: int


class Rapl:
    """Adds up the packages' counters across their wraps; one reader per process.

    A counter wraps after some ten minutes at full power, so it has to be read more often than that. One that began
    anew (after the machine slept) adds what it shows: what it counted before that, unread, is lost.
    """

    def __init__(self, root: Path = POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[Path, tuple[float, int]] = {}  # when, microjoules
        self._sum_uj = 0
        self._previous: tuple[float, float] | None = None  # when, joules

    def read(self) -> tuple[float, float | None] | Missing:
        """Joules since the first reading, and the mean watts since the previous one (None at first)."""
        with self._lock:
            try:
                packages = find_packages(self._root)
                for package in packages:
                    self._advance(package)
            except PermissionError:
                return Missing("reading the CPU's energy counter needs root on this machine")
            except (OSError, ValueError) as error:
                return Missing(f"the CPU's energy counter cannot be read: {error}")
            if not packages:
                return Missing("this CPU has no energy counter that the system shows")
            joules = self._sum_uj / 1e6
            return joules, self._mean_w(joules)

    def _advance(self, package: Package) -> None:
        now, now_uj = self._clock(), int(package.counter.read_text())
        before, before_uj = self._last.get(package.counter, (now, now_uj))
        gained_uj = now_uj - before_uj
        if gained_uj < 0:
            gained_uj += package.wraps_at_uj
            if gained_uj > MOST_W * 1e6 * max(1.0, now - before):
                gained_uj = now_uj
        self._sum_uj += gained_uj
        self._last[package.counter] = now, now_uj

    def _mean_w(self, joules: float) -> float | None:
        now = self._clock()
        if self._previous is None:
            self._previous = (now, joules)
            return None
        since, before = self._previous
        if now - since < SHORTEST_MEAN_S:
            return None
        self._previous = (now, joules)
        return (joules - before) / (now - since)


def find_packages(root: Path = POWERCAP) -> list[Package]:
    """The package domains; sub-domains and "psys" would count the same energy twice."""
    found = []
    for folder in sorted(root.glob("intel-rapl:*")):
        name = folder / "name"
        if folder.name.count(":") == 1 and name.is_file() and name.read_text().startswith("package"):
            found.append(Package(folder / "energy_uj", int((folder / "max_energy_range_uj").read_text())))
    return found


def read_power_limit_w(root: Path = POWERCAP) -> float | None:
    """The packages' long-term power limit; None unless their energy can be read as well."""
    try:
        packages = find_packages(root)
        for package in packages:
            package.counter.read_text()
        limits = [int((p.counter.parent / "constraint_0_power_limit_uw").read_text()) for p in packages]
    except (OSError, ValueError):
        return None
    return sum(limits) / 1e6 if limits else None
