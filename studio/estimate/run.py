"""The estimate of a run: memory, time and energy, corrected by what past runs measured."""

from dataclasses import dataclass
from typing import Literal

from studio.core.forecast import (
    Basis,
    EnergyForecast,
    Estimate,
    MemoryForecast,
    MemoryParts,
    TimeForecast,
    Uncorrected,
)
from studio.estimate.advice import advise
from studio.estimate.families import family_of
from studio.estimate.history import Correction, correct
from studio.estimate.inputs import EstimateInputs
from studio.estimate.needs import Needs
from studio.estimate.power import idle_w, training_w
from studio.estimate.profile import MemoryProfile
from studio.estimate.room import find_room
from studio.estimate.speed import Speed, rates_of

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


def estimate_run(inputs: EstimateInputs, profile: MemoryProfile | None = None) -> Estimate:
    """What the run will need: memory from a simulation's ``profile`` or closed forms, the rest from closed forms.

    Takes milliseconds and needs neither weights nor torch.
    """
    needs = Needs(inputs, profile)
    parts, speed, known = needs.parts, needs.speed, family_of(inputs.model).known
    basis = _basis(profile)
    watts = training_w(inputs, speed)
    corrections = _corrections(inputs, parts, family_is_known=known, basis=basis)
    memory, time = corrected_memory(parts, corrections.memory), _time(inputs, speed, corrections.time)
    verdict = verdict_of(inputs, memory)
    factor, free = memory.high_bytes / parts.total, _available(inputs)

    def fits(bytes_: int) -> bool:
        return bytes_ * factor < free

    return Estimate(
        memory=memory,
        time=time,
        energy=_energy(inputs, watts, speed, time, corrections),
        fits=None if verdict == "unknown" else verdict != "does not fit",
        verdict=verdict,
        device=inputs.device.id,
        basis="calibrated" if corrections.memory.runs else basis,
        evidence=_evidence(corrections, basis, family_is_known=known),
        advice=advise(needs, fits) if verdict in ("close", "does not fit") else (),
        room=None if verdict == "unknown" else find_room(needs, fits),
        uncorrected=Uncorrected(basis=basis, peak_bytes=parts.total, seconds_per_step=speed.step, watts=watts),
    )


def judge(inputs: EstimateInputs, profile: MemoryProfile | None = None) -> Verdict:
    """Whether the run fits its device, as ``estimate_run`` says it, without all the rest."""
    parts, known = Needs(inputs, profile).parts, family_of(inputs.model).known
    return verdict_of(inputs, corrected_memory(parts, _memory_correction(inputs, parts, _basis(profile), known=known)))


def _basis(profile: MemoryProfile | None) -> Basis:
    return "formula" if profile is None else "simulated"


def _corrections(inputs: EstimateInputs, parts: MemoryParts, *, family_is_known: bool, basis: Basis) -> _Corrections:
    known = rates_of(inputs.device, inputs.precision).known
    return _Corrections(
        memory=_memory_correction(inputs, parts, basis, known=family_is_known),
        time=correct(
            inputs,
            lambda run: (run.predicted_seconds_per_step, run.measured_seconds_per_step),
            KNOWN_TIME_PRIOR if known else TIME_PRIOR,
            TIME_FLOOR,
        ),
        power=correct(inputs, lambda run: (run.predicted_watts, run.measured_watts), POWER_PRIOR, POWER_FLOOR),
    )


def _memory_correction(inputs: EstimateInputs, parts: MemoryParts, basis: Basis, *, known: bool) -> Correction:
    return correct(
        inputs,
        lambda run: (run.predicted_bytes, run.measured_bytes if run.basis == basis else None),
        _memory_prior(parts, known=known),
        MEMORY_FLOOR,
    )


def _memory_prior(parts: MemoryParts, *, known: bool) -> tuple[float, float]:
    """The band without any run: the narrower of what holds for every run and of what the parts allow."""
    low, high = MEMORY_PRIOR if known else UNKNOWN_MEMORY_PRIOR
    exact = _exact(parts)
    rest = parts.total - exact
    rest_high = REST_HIGH if known else UNKNOWN_REST_HIGH
    return (
        max(low, (exact + REST_LOW * rest) / parts.total),
        min(high, (EXACT_HIGH * exact + rest_high * rest) / parts.total),
    )


def corrected_memory(parts: MemoryParts, correction: Correction) -> MemoryForecast:
    """The corrected parts; weights and trainables are exact, so the rest takes the whole correction."""
    exact = _exact(parts)
    center = parts.total * correction.factor
    total = max(round(center), exact)
    rest = total - exact
    scale = rest / (parts.total - exact) if parts.total > exact else 1.0
    corrected = {
        name: getattr(parts, name) if name in EXACT else round(getattr(parts, name) * scale)
        for name in MemoryParts.model_fields
    }
    scaled = MemoryParts(**corrected)
    return MemoryForecast(
        total_bytes=scaled.total,
        low_bytes=round(center * correction.low),
        high_bytes=max(round(center * correction.high), scaled.total),
        parts=scaled,
    )


def _exact(parts: MemoryParts) -> int:
    return sum(getattr(parts, name) for name in EXACT)


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


def verdict_of(inputs: EstimateInputs, memory: MemoryForecast) -> Verdict:
    """Whether the memory fits what is free on the device, within the spec's limit."""
    free = _available(inputs)
    if not free and not inputs.device.total_bytes:
        return "unknown"
    if memory.high_bytes < free:
        return "fits"
    return "close" if memory.total_bytes < free else "does not fit"


def _evidence(corrections: _Corrections, basis: Basis, *, family_is_known: bool) -> str:
    """What memory and time rest on, in a sentence."""
    if basis == "simulated":
        source = "the training step, simulated"
    else:
        source = "closed form" if family_is_known else "closed form for a similar model family"
    runs = max(corrections.memory.runs, corrections.time.runs)
    if not runs:
        return f"{source}; no run on this device yet"
    quantities = " and ".join(
        name for name, of in (("memory", corrections.memory), ("time", corrections.time)) if of.runs
    )
    return f"{source}; {quantities} corrected by {runs} finished run{'s' if runs > 1 else ''} on this device"
