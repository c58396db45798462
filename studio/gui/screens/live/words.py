"""What the Run screen says: states, remaining time, changes between evals; pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.core.events import EpochEnded, Evaluated
from studio.core.forecast import MemoryForecast
from studio.core.state import ACTIVE, RESUMABLE, RunSnapshot
from studio.core.units import format_bytes, format_number, format_seconds, format_watt_hours
from studio.gui.plots.series import Floats, Series

METERS = {"both": "energy counter and averaged power", "none": ""}
LONGEST_GAP_S = 30  # between two readings; a longer one is a pause in which the run used nothing
HIGHER_IS_BETTER = ("accuracy", "f1", "exact_match", "macro_f1", "mcc", "token_accuracy")


@dataclass(frozen=True)
class Controls:
    """Which buttons the state allows."""

    pause: bool
    stop: bool
    save: bool
    resume: bool


def controls(state: str) -> Controls:
    """Pause, stop and save act on a live worker; resume starts a new one."""
    running = state == "running"
    return Controls(pause=running, stop=state in ("starting", "running"), save=running, resume=state in RESUMABLE)


def is_live(state: str) -> bool:
    """Whether a worker is, or is about to be, at work."""
    return state in ACTIVE or state in ("draft", "queued")


def step_text(step: int, steps: int | None) -> str:
    return f"{step:,} / {steps:,}" if steps else f"{step:,}"


def remaining_s(step: int, steps: int | None, seconds_per_step: float | None) -> float | None:
    """Seconds until the last step at the recent pace; None while unknown."""
    if steps is None or seconds_per_step is None or step >= steps:
        return None
    return (steps - step) * seconds_per_step


def elapsed_s(snapshot: RunSnapshot, now: float) -> float | None:
    """Wall time since the first step: measured by the worker once the run is over."""
    if snapshot.measured is not None and not is_live(snapshot.state):
        return snapshot.measured.seconds
    if snapshot.started is None:
        return None
    end = now if is_live(snapshot.state) else snapshot.updated or now
    return max(0.0, end - snapshot.started)


def time_text(seconds: float | None) -> str:
    return "–" if seconds is None else format_seconds(seconds)


def watt_hours(snapshot: RunSnapshot, counter: Series, power: Series) -> float | None:
    """Energy so far: as the worker measured it, else by the device's counter, else by its power readings.

    ``counter`` is in joules, ``power`` in watts, both over seconds. A counter that went back, as after a driver
    restart, counts from there. None without either meter.
    """
    if snapshot.measured is not None and not is_live(snapshot.state):
        return snapshot.measured.watt_hours
    if len(counter) > 1:
        return _sum_joules(counter.x, np.maximum(np.diff(counter.y), 0)) / 3600
    if len(power) > 1:
        return _sum_joules(power.x, (power.y[1:] + power.y[:-1]) / 2 * np.diff(power.x)) / 3600
    return None


def _sum_joules(times: Floats, joules: Floats) -> float:
    return float(joules[np.diff(times) <= LONGEST_GAP_S].sum())


def epoch_text(epochs: Sequence[EpochEnded]) -> str:
    """``epoch 2: 3.2 Wh``: what the last metered epoch took; empty before."""
    metered = [(ended.epoch, ended.watt_hours) for ended in epochs if ended.watt_hours is not None]
    return f"epoch {metered[-1][0]}: {format_watt_hours(metered[-1][1])}" if metered else ""


def meter_text(snapshot: RunSnapshot, *, counter: bool) -> str:
    """The meter behind the energy: the worker's word for it, else the device's readings."""
    found = snapshot.measured.energy_method if snapshot.measured is not None else ""
    return METERS.get(found, found) or ("energy counter" if counter else "power readings")


def is_shared(snapshot: RunSnapshot) -> bool:
    """Whether other programs are known to have used the device, so that the energy is not the run's alone."""
    return snapshot.measured is not None and bool(snapshot.measured.shared)


def off_forecast(forecast: MemoryForecast, peak_bytes: float, *, over: bool) -> str:
    """A word when the memory has left its band; one below it only shows at the end. Empty while inside."""
    if peak_bytes > forecast.high_bytes:
        return f"above the forecast: {format_bytes(peak_bytes)} at its peak"
    if over and peak_bytes < forecast.low_bytes:
        return f"below the forecast: {format_bytes(peak_bytes)} at its peak"
    return ""


def loss_text(value: float) -> str:
    if math.isnan(value):
        return "–"
    return format_number(value) if math.isfinite(value) else "infinite"


@dataclass(frozen=True)
class EvalChange:
    """One held-out metric before tuning (or at the first eval), now, and at its best."""

    name: str
    before: float | None
    now: float
    best: float
    better: bool | None

    @property
    def change_text(self) -> str:
        """``−0.4210, better``: the sign and a word, so that colour is not needed."""
        if self.before is None or self.better is None:
            return "–"
        delta = self.now - self.before
        word = "better" if self.better else "worse" if delta else "no change"
        return f"{'+' if delta > 0 else '−' if delta < 0 else '±'}{format_number(abs(delta))}, {word}"


def eval_changes(evals: list[Evaluated]) -> list[EvalChange]:
    """Every metric of the last eval against the first."""
    if not evals:
        return []
    first, last = evals[0], evals[-1]
    return [_change(name, first, last, evals) for name in last.metrics]


def _change(name: str, first: Evaluated, last: Evaluated, evals: list[Evaluated]) -> EvalChange:
    higher = name in HIGHER_IS_BETTER
    seen = [e.metrics[name] for e in evals if name in e.metrics and math.isfinite(e.metrics[name])]
    now = last.metrics[name]
    best = (max(seen) if higher else min(seen)) if seen else math.nan
    before = first.metrics.get(name) if len(evals) > 1 else None
    better = None if before is None else (now > before if higher else now < before)
    return EvalChange(name, before, now, best, better)


def phase_text(snapshot: RunSnapshot) -> str:
    """What the worker is busy with, or why the run ended; nothing while it simply trains."""
    if is_live(snapshot.state):
        share = f" {snapshot.progress:.0%}" if snapshot.progress is not None else ""
        return f"{snapshot.phase}{share}" if snapshot.phase else "waiting for the worker"
    return snapshot.reason


def progress(snapshot: RunSnapshot, steps: int | None) -> float | None:
    """How far the run is, 0 to 1; None while it prepares without knowing how long."""
    if snapshot.state == "completed":
        return 1.0
    if snapshot.state in ("draft", "queued", "starting") and snapshot.step == 0:
        return None
    return min(1.0, snapshot.step / steps) if steps else 0.0
