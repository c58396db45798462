"""Time, energy and memory of a run, summed over its sessions, and each epoch's share of them."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from studio.core import events as ev
from studio.core.units import format_seconds, format_watt_hours
from studio.devices import Energy
from studio.engine.session import Session
from studio.engine.telemetry import Telemetry

LIMIT_CHECK_S = 1.0


class Clock:
    """Time, energy and memory of this session, added to those of the sessions before it.

    ``meter`` tells the energy that the plan's device has used since ``started`` (of ``time.monotonic``; now by
    default). A run computes on that one device even where more GPUs are visible, so no other is metered.
    """

    def __init__(
        self, session: Session, telemetry: Telemetry, meter: Callable[[], Energy], *, started: float | None = None
    ) -> None:
        self._session = session
        self._telemetry = telemetry
        self._meter = meter
        self._before = before = replace(session.progress)
        self._checked = time.monotonic()
        self._started = self._checked if started is None else started
        self.update()
        # what it took to get ready belongs to no epoch
        session.progress.epoch_seconds += session.progress.seconds - before.seconds
        session.progress.epoch_joules += (session.progress.joules or 0.0) - (before.joules or 0.0)

    def update(self) -> None:
        """Bring the session's progress up to date."""
        progress, before = self._session.progress, self._before
        energy, seconds = self._meter(), time.monotonic() - self._started
        metered_s = energy.seconds - energy.unmetered_s
        progress.seconds = before.seconds + seconds
        progress.joules = before.joules if energy.joules is None else (before.joules or 0.0) + energy.joules
        progress.unmetered_s = before.unmetered_s + max(0.0, seconds - metered_s)
        progress.energy_method = _joined(before.energy_method, energy.method)
        progress.shared = _either(before.shared, energy.shared) if before.energy_method else energy.shared
        progress.peak_bytes = max(progress.peak_bytes, self._telemetry.peak())
        allocated = allocated_peak(self._session.plan.device)
        progress.allocated_bytes = None if allocated is None else max(before.allocated_bytes or 0, allocated)

    def over_limit(self) -> str | None:
        """What the run has used up of the plan's limits, in words; looked at every ``LIMIT_CHECK_S``."""
        if time.monotonic() - self._checked < LIMIT_CHECK_S:
            return None
        self._checked = time.monotonic()
        self.update()
        plan, progress = self._session.plan, self._session.progress
        if plan.limit_seconds is not None and progress.seconds > plan.limit_seconds:
            return f"the {format_seconds(plan.limit_seconds)} allowed"
        joules = progress.joules or 0.0
        if plan.limit_watt_hours is not None and joules > plan.limit_watt_hours * 3600:
            return f"the {format_watt_hours(plan.limit_watt_hours)} allowed"
        return None

    def end_epochs(self) -> None:
        """Report the epochs whose last row was in the latest step; the whole step counts towards them."""
        step = self._session.progress.step
        self._report(range(self._whole_epochs(step - 1), self._whole_epochs(step)))

    def cut_epoch(self) -> None:
        """Report the epoch in which the run ends, if any step began in it."""
        progress = self._session.progress
        if progress.tokens > progress.epoch_tokens:
            whole = self._whole_epochs(progress.step)
            self._report(range(whole, whole + 1))

    def _whole_epochs(self, step: int) -> int:
        return step * self._session.plan.effective_batch // len(self._session.train_rows)

    def _report(self, epochs: range) -> None:
        """Epochs (from 0) that end now: what was used since the one before them, in equal shares."""
        if not epochs:
            return
        self.update()
        progress, count = self._session.progress, len(epochs)
        joules = None if progress.joules is None else progress.joules - progress.epoch_joules
        for epoch in epochs:
            self._telemetry.later(
                ev.EpochEnded(
                    time.time(), epoch + 1, progress.step,
                    seconds=(progress.seconds - progress.epoch_seconds) / count,
                    tokens=(progress.tokens - progress.epoch_tokens) // count,
                    watt_hours=None if joules is None else joules / 3600 / count,
                )
            )  # fmt: skip
        progress.epoch_seconds, progress.epoch_tokens = progress.seconds, progress.tokens
        progress.epoch_joules = progress.joules or 0.0


def allocated_peak(device: str) -> int | None:
    """The most bytes that tensors took on a CUDA device in this process; None on a CPU, whose allocator cannot tell."""
    return int(torch.cuda.max_memory_allocated(device)) if device.startswith("cuda") else None


def _joined(before: str, now: str) -> str:
    """The meter of several sessions; those without one say nothing."""
    known = {before, now} - {"", "none"}
    return "both" if len(known) > 1 else known.pop() if known else now


def _either(before: bool | None, now: bool | None) -> bool | None:
    if before or now:
        return True
    return None if before is None or now is None else False
