"""What a run's energy was spent on, cost and emitted, by the tariff and the grid of the day it was planned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import UserError
from studio.core.events import EpochEnded, Measured, Resumed, decode
from studio.devices import near_cadence
from studio.estimate.tables import grid_source, list_grids
from studio.rundir.layout import RunFolder
from studio.service.settings import Settings

MOST_UNMETERED = 0.05  # of the time; with more of it in no figure, what is metered says nothing of a token
EPOCH_LINES = tuple(f'{{"kind":"{kind.kind}"'.encode() for kind in (EpochEnded, Resumed))


class EnergyRates(BaseModel):
    """``energy.json`` of a run folder: price per kWh, and grams of CO2 equivalent per kWh with where they are from.

    ``grid`` is the code of a region of the carbon table, ``year`` that of its figure; a figure that the user gave
    has neither. None: not known when the run was planned.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    tariff_per_kwh: float | None = None
    currency: str = ""
    grid: str = ""
    g_per_kwh: float | None = None
    source: str = ""
    year: int | None = None


@dataclass(frozen=True)
class EnergyFigures:
    """The energy of a run put to use; None where it is not known.

    ``cost`` (in the rates' currency) and ``co2_g`` are those of the metered energy, ``mean_w`` is over the metered
    time. ``joules_per_token`` and ``joules_per_step`` share out the whole run, loading and evals included, unless
    over a twentieth of its time is unmetered. ``watt_hours_per_epoch`` is the mean of whole epochs.
    ``near_cadence``: the steps beat with the readings of the GPU's power, so the figures may be far off.
    """

    cost: float | None = None
    co2_g: float | None = None
    mean_w: float | None = None
    joules_per_token: float | None = None
    joules_per_step: float | None = None
    watt_hours_per_epoch: float | None = None
    near_cadence: bool | None = None
    epochs: tuple[EpochEnded, ...] = ()
    rates: dict[str, Any] | None = None


def rates_of(settings: Settings) -> EnergyRates:
    """The rates that hold now."""
    price = {"tariff_per_kwh": settings.tariff_per_kwh, "currency": settings.currency}
    if settings.grid_g_per_kwh is None:
        return EnergyRates(**price)
    if not isinstance(settings.grid, str):
        return EnergyRates(**price, g_per_kwh=settings.grid_g_per_kwh, source="settings")
    wanted = settings.grid.strip().lower()
    region = next(grid for grid in list_grids() if wanted in (grid.code.lower(), grid.name.lower()))
    return EnergyRates(
        **price, grid=region.code, g_per_kwh=region.g_per_kwh, source=grid_source(), year=region.year
    )  # fmt: skip


def read_rates(folder: RunFolder) -> EnergyRates:
    """The rates that the run was planned with; none are known of runs without the file.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return EnergyRates.model_validate_json(folder.energy.read_bytes())
    except FileNotFoundError:
        return EnergyRates()
    except ValidationError as error:
        raise UserError(
            "holds no energy rates", where=str(folder.energy), hint="delete the file to see the run without its cost"
        ) from error


def read_epochs(events: Path) -> list[EpochEnded]:
    """The epochs in an event log, the last word on each; those that a resumed run trains again are left out."""
    found: dict[int, EpochEnded] = {}
    try:
        with events.open("rb") as log:
            for line in log:
                event = decode(line) if line.startswith(EPOCH_LINES) else None
                if isinstance(event, EpochEnded):
                    found[event.epoch] = event
                elif isinstance(event, Resumed):
                    found = {epoch: ended for epoch, ended in found.items() if ended.step <= event.step}
    except FileNotFoundError:
        return []
    return [found[epoch] for epoch in sorted(found)]


def energy_figures(
    measured: Measured, rates: EnergyRates, epochs: Sequence[EpochEnded], *, plan: dict[str, Any], tokens: float,
    steps: int, step_s: float | None,
) -> EnergyFigures:  # fmt: skip
    """The figures of a run of so many ``tokens`` and ``steps`` (0: not known), which typically took ``step_s`` each."""
    watt_hours = measured.watt_hours
    metered_s = measured.seconds - measured.unmetered_s
    joules = None if watt_hours is None else watt_hours * 3600
    shared_out = joules if measured.unmetered_s <= MOST_UNMETERED * measured.seconds else None
    whole = [epoch.watt_hours for epoch in _whole(epochs, plan) if epoch.watt_hours is not None]
    gpu = str(plan.get("device", "")).startswith("cuda")
    return EnergyFigures(
        cost=_at(watt_hours, rates.tariff_per_kwh),
        co2_g=_at(watt_hours, rates.g_per_kwh),
        mean_w=_ratio(joules, metered_s),
        joules_per_token=_ratio(shared_out, tokens),
        joules_per_step=_ratio(shared_out, steps),
        watt_hours_per_epoch=sum(whole) / len(whole) if whole else None,
        near_cadence=None if joules is None or step_s is None else gpu and near_cadence(step_s),
        epochs=tuple(epochs),
        rates=rates.model_dump(),
    )


def _whole(epochs: Sequence[EpochEnded], plan: dict[str, Any]) -> Sequence[EpochEnded]:
    """The epochs without a last one that the run's end cut short: it saw fewer rows than there are."""
    last = epochs[-1] if epochs else None
    if last is None or last.step * plan.get("effective_batch", 0) >= last.epoch * plan.get("train_rows", 0):
        return epochs
    return epochs[:-1]


def _at(watt_hours: float | None, rate_per_kwh: float | None) -> float | None:
    return None if watt_hours is None or rate_per_kwh is None else watt_hours / 1000 * rate_per_kwh


def _ratio(amount: float | None, by: float) -> float | None:
    return amount / by if amount is not None and by > 0 else None
