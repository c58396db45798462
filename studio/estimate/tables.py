"""Known devices and electricity grids, from the files in ``resources/tables``."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from studio.core.errors import UserError
from studio.core.facts import DeviceFacts
from studio.core.paths import resource
from studio.core.problems import did_you_mean


@dataclass(frozen=True)
class GpuFacts:
    """What a data sheet says about a GPU: operations and bytes per second, watts when idle."""

    half_flops: float
    fp32_flops: float
    bytes_per_s: float
    idle_w: float


@dataclass(frozen=True)
class Card:
    """A common card: its name, the GiB that a driver leaves of its memory, its compute capability."""

    name: str
    gib: float
    capability: tuple[int, int]


@dataclass(frozen=True)
class CpuFacts:
    """What one core sustains in training, by precision, and the bytes per second of the whole CPU."""

    flops_per_core: dict[str, float]
    bytes_per_s: float


@dataclass(frozen=True)
class Grid:
    """The electricity of a region: grams of CO2 equivalent per kWh, mean of ``year``."""

    code: str
    name: str
    g_per_kwh: float
    year: int


def find_gpu(name: str) -> GpuFacts | None:
    """The facts of the longest known name that this device's name contains."""
    words = f" {name.lower()} "
    found = [row for row in _table("devices.json")["gpus"] if _names(row["match"].lower(), words)]
    if not found:
        return None
    row = max(found, key=lambda row: len(row["match"]))
    return GpuFacts(
        half_flops=row["half_tflops"] * 1e12,
        fp32_flops=row["fp32_tflops"] * 1e12,
        bytes_per_s=row["gigabytes_per_s"] * 1e9,
        idle_w=row["idle_w"],
    )


def common_cards() -> tuple[Card, ...]:
    """Cards that people train on, from small to large."""
    return tuple(Card(row["name"], row["gib"], tuple(row["capability"])) for row in _table("devices.json")["cards"])


def cpu_facts(device: DeviceFacts) -> CpuFacts:
    """The rates of a CPU with or without bf16 instructions."""
    table = _table("devices.json")["cpu"]
    rates = table["bf16_gflops_per_core" if device.bf16 else "plain_gflops_per_core"]
    return CpuFacts(
        flops_per_core={precision: gflops * 1e9 for precision, gflops in rates.items()},
        bytes_per_s=table["gigabytes_per_s"] * 1e9,
    )


def list_grids() -> tuple[Grid, ...]:
    """All regions: World, European Union, then countries by name."""
    return tuple(Grid(**row) for row in _table("carbon.json")["regions"])


def grid_source() -> str:
    """Where the grid figures come from."""
    return str(_table("carbon.json")["source"])


def grid_g_per_kwh(grid: str | float | None) -> float | None:
    """Grams of CO2 per kWh of a setting: a region's code or name, or the figure itself.

    Raises:
        UserError: no region has that name.
    """
    if grid is None or isinstance(grid, int | float):
        return grid
    wanted = grid.strip().lower()
    for region in list_grids():
        if wanted in (region.code.lower(), region.name.lower()):
            return region.g_per_kwh
    names = [name for region in list_grids() for name in (region.code, region.name)]
    raise UserError(f"no electricity grid is called {grid!r}", where="settings.grid", hint=did_you_mean(grid, names))


def _names(match: str, words: str) -> bool:
    """Whether the name contains the match as whole words ("A10" is not in "A100"), memory sizes aside."""
    return any(f"{start}{match}{end}" in words for start in " -" for end in " -")


@cache
def _table(name: str) -> Any:
    return json.loads(resource(f"tables/{name}").read_text(encoding="utf-8"))
