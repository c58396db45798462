"""A forecast that rests on a probe: real steps of the same plan, measured on the same device."""

from dataclasses import replace
from datetime import datetime

from studio.core.forecast import EnergyForecast, Estimate, Forecast, TimeForecast
from studio.estimate.families import family_of
from studio.estimate.footprint import measure_footprint
from studio.estimate.history import Correction, correct
from studio.estimate.inputs import EstimateInputs
from studio.estimate.run import MEMORY_FLOOR, POWER_FLOOR, corrected_memory, verdict_of
from studio.estimate.speed import measure_speed

MEMORY_BAND, TIME_BAND = 0.05, 0.1  # how far a whole run may be from its probe, either way


class ProbeResult(Forecast):
    """What a few real steps of a plan took.

    ``peak_bytes`` is the most the process held, in the phase ``peak_phase``: every micro-batch of ``steps`` steps had
    the data's longest rows, then came an evaluation and a checkpoint. ``seconds_per_longest_step`` is the median of
    those steps but the first, ``seconds_per_step`` that of as many ordinary steps, with ``tokens_per_step`` in them
    (without padding). ``watts`` is None without a meter or when the probe was too short for it. ``shared``: other
    processes used the device too (None: not known). ``made`` is in seconds since the epoch.
    """

    device: str
    made: float
    steps: int
    micro_batch: int
    longest_row: int
    peak_bytes: int
    peak_phase: str
    seconds_per_step: float
    tokens_per_step: float
    seconds_per_longest_step: float
    watts: float | None = None
    shared: bool | None = None


def apply_probe(estimate: Estimate, probe: ProbeResult, inputs: EstimateInputs) -> Estimate:
    """The estimate with what the probe measured in place of what was computed.

    Memory is corrected by what runs on this device measured that a probe had foreseen; the parts that are exact stay
    and the others share the rest. Time per step goes with the tokens.
    """
    memory = corrected_memory(estimate.memory.parts, _from_peak(estimate, probe, inputs))
    time = _time(probe, inputs)
    verdict = verdict_of(inputs, memory)
    return estimate.model_copy(
        update={
            "memory": memory,
            "time": time,
            "energy": _energy(estimate, probe, time, inputs),
            "fits": None if verdict == "unknown" else verdict != "does not fit",
            "verdict": verdict,
            "basis": "probed",
            "evidence": f"measured by a probe of {probe.steps} steps on {_day(probe)}" + _beside(probe),
            "fallback": "",
            "advice": () if verdict == "fits" else estimate.advice,
            "uncorrected": estimate.uncorrected
            and estimate.uncorrected.model_copy(update={"basis": "probed", "peak_bytes": probe.peak_bytes}),
        }
    )


def _from_peak(estimate: Estimate, probe: ProbeResult, inputs: EstimateInputs) -> Correction:
    """The correction that leads from the estimate's parts to the probe's peak and its band."""
    correction = correct(
        inputs,
        lambda run: (run.predicted_bytes, run.measured_bytes if run.basis == "probed" else None),
        (1 - MEMORY_BAND, 1 + MEMORY_BAND),
        MEMORY_FLOOR,
    )
    return replace(correction, factor=correction.factor * probe.peak_bytes / estimate.memory.parts.total)


def _time(probe: ProbeResult, inputs: EstimateInputs) -> TimeForecast:
    speed = measure_speed(inputs, measure_footprint(inputs.declared, family_of(inputs.model)))
    lengths = inputs.lengths
    tokens = probe.tokens_per_step if lengths is None else lengths.mean * inputs.rows_per_step
    step = probe.seconds_per_step * tokens / probe.tokens_per_step
    seconds = speed.start + inputs.steps * step + speed.evals * step / speed.step
    return TimeForecast(
        seconds=seconds, low=seconds * (1 - TIME_BAND), high=seconds * (1 + TIME_BAND), seconds_per_step=step
    )


def _energy(estimate: Estimate, probe: ProbeResult, time: TimeForecast, inputs: EstimateInputs) -> EnergyForecast:
    """Energy at the measured power; without one, what was computed for the time that was measured."""
    if probe.watts is None:
        longer = time.seconds / estimate.time.seconds
        before = estimate.energy.model_dump(exclude_none=True)
        return EnergyForecast(**{name: value * longer for name, value in before.items()})
    watt_hours = time.seconds * probe.watts / 3600
    kwh = watt_hours / 1000
    return EnergyForecast(
        watt_hours=watt_hours,
        low=watt_hours * (1 - TIME_BAND) * (1 - POWER_FLOOR),
        high=watt_hours * (1 + TIME_BAND) * (1 + POWER_FLOOR),
        cost=None if inputs.tariff_per_kwh is None else kwh * inputs.tariff_per_kwh,
        co2_g=None if inputs.grid_g_per_kwh is None else kwh * inputs.grid_g_per_kwh,
    )


def _day(probe: ProbeResult) -> str:
    return datetime.fromtimestamp(probe.made).astimezone().date().isoformat()


def _beside(probe: ProbeResult) -> str:
    return ", while other programs used the device" if probe.shared else ""
