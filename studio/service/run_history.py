"""What finished runs predicted and measured, so that the next estimate is better than the last."""

from studio.catalog.connection import opened
from studio.catalog.queries import list_measurements
from studio.catalog.rows import Measurement
from studio.core.facts import DeviceFacts, ModelFacts
from studio.core.paths import home
from studio.estimate import MeasuredRun

MOST_RUNS = 300


def measured_runs(devices: list[DeviceFacts], models: list[ModelFacts]) -> tuple[MeasuredRun, ...]:
    """The newest finished runs on devices and models that are still here; an estimate's ``history``."""
    names = {device.id: device.name for device in devices}
    types = {model.fingerprint: model.model_type for model in models if model.fingerprint}
    with opened(home().catalog):
        found = list_measurements(MOST_RUNS)
    return tuple(
        _measured_run(run, names[run.device], types[run.model_fingerprint])
        for run in found
        if run.device in names and run.model_fingerprint in types
    )


def _measured_run(run: Measurement, device: str, model_type: str) -> MeasuredRun:
    watts = run.watt_hours * 3600 / run.seconds if run.watt_hours is not None and run.seconds > 0 else None
    return MeasuredRun(
        device=device,
        model_type=model_type,
        precision=run.precision,
        predicted_bytes=run.predicted_bytes,
        predicted_seconds_per_step=run.predicted_seconds_per_step,
        predicted_watts=run.predicted_watts,
        measured_bytes=run.peak_bytes,
        measured_seconds_per_step=run.seconds_per_step,
        measured_watts=watts,
    )
