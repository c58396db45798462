"""What finished runs predicted and measured, so that the next estimate is better than the last."""

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from studio.catalog.connection import opened
from studio.catalog.queries import list_measurements
from studio.catalog.rows import Measurement
from studio.core.facts import ModelFacts
from studio.core.paths import home
from studio.estimate import MeasuredRun

MOST_RUNS = 300
FEWEST_STEPS = 3  # the first ones also warm up
MOST_UNMETERED = 0.5  # share of the time in no energy figure, beyond which the rest does not tell the power


def measured_runs(models: list[ModelFacts]) -> tuple[MeasuredRun, ...]:
    """The newest finished runs of models that are still here; an estimate's ``history``."""
    types = {model.fingerprint: model.model_type for model in models if model.fingerprint}
    return tuple(
        _measured_run(run, types[run.model_fingerprint])
        for run in _finished_runs(home().catalog, _changed(home().catalog))
        if run.model_fingerprint in types
    )


@lru_cache(maxsize=1)
def _finished_runs(catalog: Path, changed: tuple[int, ...]) -> list[Measurement]:
    with opened(catalog):
        return list_measurements(MOST_RUNS)


def _changed(catalog: Path) -> tuple[int, ...]:
    """When the database was last written; the same while nothing new is to be read."""
    files = (catalog, catalog.with_name(f"{catalog.name}-wal"))
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


def torch_version() -> str:
    """The version of torch that a run started now would train with; empty where there is none."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def metered_watt_hours(run: Measurement, most_unmetered: float) -> float | None:
    """The run's energy; None where others used the device too, or more than that share of the time is not in it."""
    trusted = not run.shared and run.unmetered_s <= most_unmetered * run.seconds
    return run.watt_hours if trusted else None


def _measured_run(run: Measurement, model_type: str) -> MeasuredRun:
    watt_hours, metered_s = metered_watt_hours(run, MOST_UNMETERED), run.seconds - run.unmetered_s
    warm = run.step >= FEWEST_STEPS and not run.halved
    return MeasuredRun(
        device=run.device,
        model_type=model_type,
        precision=run.precision,
        predicted_bytes=run.predicted_bytes,
        predicted_seconds_per_step=run.predicted_seconds_per_step,
        predicted_watts=run.predicted_watts,
        measured_bytes=None if run.halved else run.peak_bytes,
        measured_seconds_per_step=run.seconds_per_step if warm else None,
        measured_watts=watt_hours * 3600 / metered_s if warm and watt_hours is not None and metered_s > 0 else None,
        basis=run.basis,
        method=run.method,
        driver=run.driver,
        torch=run.torch,
    )
