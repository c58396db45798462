"""The formula's estimate of a run: memory, time and energy, corrected by what past runs measured."""

from dataclasses import dataclass
from typing import Literal

from studio.core.forecast import (
    EnergyForecast,
    Estimate,
    MemoryForecast,
    MemoryParts,
    TimeForecast,
    Uncorrected,
)
from studio.estimate.advice import advise
from studio.estimate.families import family_of
from studio.estimate.footprint import measure_footprint
from studio.estimate.history import Correction, correct
from studio.estimate.inputs import EstimateInputs
from studio.estimate.memory import measure_memory
from studio.estimate.power import idle_w, training_w
from studio.estimate.speed import Speed, measure_speed, rates_of

EXACT = ("weights", "trainable", "gradients", "optimizer")
MEMORY_PRIOR, UNKNOWN_MEMORY_PRIOR = (0.85, 1.25), (0.7, 1.5)
# bounds by part: weights and trainables are known but for rounding, the rest at most this far off
EXACT_HIGH, REST_LOW, REST_HIGH, UNKNOWN_REST_HIGH = 1.02, 0.6, 1.6, 2.2
KNOWN_TIME_PRIOR, TIME_PRIOR = (0.5, 2.0), (0.4, 2.5)
POWER_PRIOR = (0.7, 1.4)
# the narrowest bands that measurements support; power: models of single instructions are off by 11 to 14 %
MEMORY_FLOOR, TIME_FLOOR, POWER_FLOOR = 0.02, 0.05, 0.11

Verdict = Literal["fits", "close", "does not fit", "unknown"]


@dataclass(frozen=True)
class _Corrections:
    memory: Correction
    time: Correction
    power: Correction


def estimate_run(inputs: EstimateInputs) -> Estimate:
    """What the run will need, from closed forms; takes milliseconds and needs neither weights nor torch."""
    family = family_of(inputs.model)
    footprint = measure_footprint(inputs.declared, family)
    parts, speed = measure_memory(inputs, footprint), measure_speed(inputs, footprint)
    watts = training_w(inputs, speed)
    corrections = _corrections(inputs, family_is_known=family.known)
    memory, time = _memory(parts, corrections.memory, known=family.known), _time(inputs, speed, corrections.time)
    verdict = _verdict(inputs, memory)
    factor = memory.high_bytes / parts.total
    free = _available(inputs)
    advice = advise(inputs, lambda total: total * factor < free) if verdict in ("close", "does not fit") else ()
    return Estimate(
        memory=memory,
        time=time,
        energy=_energy(inputs, watts, speed, time, corrections),
        fits=None if verdict == "unknown" else verdict != "does not fit",
        verdict=verdict,
        device=inputs.device.id,
        basis="calibrated" if corrections.memory.runs or corrections.time.runs else "formula",
        evidence=_evidence(corrections, family_is_known=family.known),
        advice=advice,
        uncorrected=Uncorrected(peak_bytes=parts.total, seconds_per_step=speed.step, watts=watts),
    )


def _corrections(inputs: EstimateInputs, *, family_is_known: bool) -> _Corrections:
    known = rates_of(inputs.device, inputs.precision).known
    return _Corrections(
        memory=correct(
            inputs,
            lambda run: (run.predicted_bytes, run.measured_bytes),
            MEMORY_PRIOR if family_is_known else UNKNOWN_MEMORY_PRIOR,
            MEMORY_FLOOR,
        ),
        time=correct(
            inputs,
            lambda run: (run.predicted_seconds_per_step, run.measured_seconds_per_step),
            KNOWN_TIME_PRIOR if known else TIME_PRIOR,
            TIME_FLOOR,
        ),
        power=correct(inputs, lambda run: (run.predicted_watts, run.measured_watts), POWER_PRIOR, POWER_FLOOR),
    )


def _memory(parts: MemoryParts, correction: Correction, *, known: bool) -> MemoryForecast:
    """The corrected parts; weights and trainables are exact, so the rest takes the whole correction."""
    exact = sum(getattr(parts, name) for name in EXACT)
    total = max(round(parts.total * correction.factor), exact)
    rest = total - exact
    scale = rest / (parts.total - exact) if parts.total > exact else 1.0
    corrected = {
        name: getattr(parts, name) if name in EXACT else round(getattr(parts, name) * scale)
        for name in MemoryParts.model_fields
    }
    scaled = MemoryParts(**corrected)
    rest_high = REST_HIGH if known else UNKNOWN_REST_HIGH
    return MemoryForecast(
        total_bytes=scaled.total,
        low_bytes=round(max(scaled.total * correction.low, exact + REST_LOW * rest)),
        high_bytes=round(min(scaled.total * correction.high, EXACT_HIGH * exact + rest_high * rest)),
        parts=scaled,
    )


def _time(inputs: EstimateInputs, speed: Speed, correction: Correction) -> TimeForecast:
    step = speed.step * correction.factor
    seconds = speed.start + inputs.steps * step + speed.evals * correction.factor
    return TimeForecast(
        seconds=seconds, low=seconds * correction.low, high=seconds * correction.high, seconds_per_step=step
    )


def _energy(
    inputs: EstimateInputs, watts: float | None, speed: Speed, time: TimeForecast, corrections: _Corrections
) -> EnergyForecast:
    """Energy of start-up at idle and of the rest at training power; none where no meter would confirm it."""
    idle = idle_w(inputs.device)
    if watts is None or idle is None:
        return EnergyForecast()
    power = watts * corrections.power.factor
    joules = speed.start * idle + (time.seconds - speed.start) * power
    watt_hours = joules / 3600
    kwh = watt_hours / 1000
    return EnergyForecast(
        watt_hours=watt_hours,
        low=watt_hours * corrections.time.low * corrections.power.low,
        high=watt_hours * corrections.time.high * corrections.power.high,
        cost=None if inputs.tariff_per_kwh is None else kwh * inputs.tariff_per_kwh,
        co2_g=None if inputs.grid_g_per_kwh is None else kwh * inputs.grid_g_per_kwh,
    )


def _available(inputs: EstimateInputs) -> int:
    cap, free = inputs.memory_cap_bytes, inputs.device.free_bytes
    if not inputs.device.total_bytes:
        return cap or 0
    return free if cap is None else min(free, cap)


def _verdict(inputs: EstimateInputs, memory: MemoryForecast) -> Verdict:
    free = _available(inputs)
    if not free and not inputs.device.total_bytes:
        return "unknown"
    if memory.high_bytes < free:
        return "fits"
    return "close" if memory.total_bytes < free else "does not fit"


def _evidence(corrections: _Corrections, *, family_is_known: bool) -> str:
    runs = max(corrections.memory.runs, corrections.time.runs)
    if runs:
        return f"closed form, corrected by {runs} finished run{'s' if runs > 1 else ''} on this device"
    if not family_is_known:
        return "closed form for a similar model family, no run on this device yet"
    return "closed form, no run on this device yet"
