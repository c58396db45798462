"""Energy between two moments, from the most trustworthy meter that a device has."""

import threading
import time
from dataclasses import dataclass
from typing import Literal

from studio.core.errors import MachineError
from studio.core.facts import DeviceSample
from studio.devices.machine import power_is_averaged, sample
from studio.devices.sampler import Read

AVERAGE_S = 1.0  # the stretch that averaged power looks back on
LONGEST_STEP_S = 10.0  # a trapezoid over a longer gap (a suspended laptop) would be invention
LATE_S = 1.0  # a sample that is older than the last by less was overtaken by another thread's
REFRESH_S = 0.1  # how often most boards renew counter and power
LOOK_S = 0.01
NEAR_S = 0.003  # closer to the refreshes than this, steps and readings hardly move against each other
MANY_REFRESHES = 5  # a step that spans more is read in enough places to be fair

Method = Literal["energy counter", "averaged power", "both", "none"]


@dataclass(frozen=True)
class Energy:
    """What a meter saw.

    ``joules`` is None when the device has no meter. ``unmetered_s`` of ``seconds`` are in no figure. ``shared``
    says whether other processes used the device meanwhile (None: the driver does not tell); their energy is
    in ``joules`` too. A GPU's figure is that of its board alone.
    """

    joules: float | None
    method: Method
    seconds: float
    unmetered_s: float
    shared: bool | None


class EnergyMeter:
    """Adds up the energy of one device since the meter was made; threads may share it.

    A device with an energy counter needs reading only when somebody asks; for one without, ``add`` must be fed
    samples about once a second. The counter is trusted first, then the trapezoid of averaged power; instants of
    power are never integrated, because their polling aliases with the steps of a training run. A device that the
    driver does not find costs its figure and no more.

    Readings that are renewed every 0.1 s miss up to that much at either end (2.7 % of 6 s under a load that swings
    between 60 and 300 W), so the meter begins at a renewal and ``settle`` waits for one.
    """

    def __init__(
        self, device_id: str, pid: int | None = None, *, averaged: bool | None = None, read: Read | None = sample
    ) -> None:
        self._averaged = averaged
        self._device_id = device_id
        self._read = read
        self._lock = threading.Lock()
        self._pid = pid
        self._first: DeviceSample | None = None
        self._last: DeviceSample | None = None
        self._counted: tuple[float, float] | None = None  # time and joules of the last counter reading
        self._counter_j = 0.0
        self._power_j = 0.0
        self._metered_s = {"counter": 0.0, "power": 0.0}
        self._pending_j = 0.0  # power since ``_counted``, kept in case the counter does not come back
        self._pending_s = 0.0
        self._shared: bool | None = None
        self.settle()

    def add(self, sample: DeviceSample) -> None:
        """Take in the next sample; after the clock was set back, it adds nothing but its counter."""
        with self._lock:
            if self._last is not None:
                if 0 < self._last.time - sample.time < LATE_S:
                    return
                self._add_power(self._last, sample)
            if sample.energy_j is not None:
                self._add_counter(sample.time, sample.energy_j)
            self._first = self._first or sample
            self._last = sample
            self._note_sharing(sample)

    def total(self) -> Energy:
        """The energy since the meter was made, up to now."""
        self._include(self._take())
        with self._lock:
            return self._total()

    def settle(self) -> None:
        """Wait until the reading is renewed, 0.15 s at most: a ``total`` right after it is true to 0.01 s."""
        first = latest = self._take()
        for _ in range(round(1.5 * REFRESH_S / LOOK_S)):
            if _shown(first) is None or _shown(latest) != _shown(first):
                break
            time.sleep(LOOK_S)
            latest = self._take()
        self._include(latest)

    def _take(self) -> DeviceSample | None:
        try:
            return self._read(self._device_id, self._pid) if self._read else None
        except MachineError:
            return None  # the sampler says why

    def _include(self, taken: DeviceSample | None) -> None:
        if taken is not None:
            self.add(taken)

    def _total(self) -> Energy:
        seconds = self._last.time - self._first.time if self._first and self._last else 0.0
        counter_s, power_s = self._metered_s["counter"], self._metered_s["power"] + self._pending_s
        metered_s = counter_s + power_s
        joules = self._counter_j + self._power_j + self._pending_j
        return Energy(
            joules=joules if metered_s > 0 else None,
            method=_name(counter_s, power_s),
            seconds=seconds,
            unmetered_s=max(0.0, seconds - metered_s),
            shared=self._shared,
        )

    def _add_power(self, before: DeviceSample, after: DeviceSample) -> None:
        step_s = after.time - before.time
        if before.power_w is None or after.power_w is None or not 0 < step_s <= LONGEST_STEP_S:
            return
        if self._averaged is None:  # asked only now that the device surely answers
            self._averaged = power_is_averaged(self._device_id)
        if not self._averaged:
            return
        trapezoid_j = step_s * (before.power_w + after.power_w) / 2
        # the average lags by half its stretch; over consecutive steps only the ends of this sum remain
        lag_j = AVERAGE_S / 2 * (after.power_w - before.power_w)
        self._pending_j += trapezoid_j + lag_j
        self._pending_s += step_s

    def _add_counter(self, time: float, joules: float) -> None:
        if self._counted is not None and joules >= self._counted[1]:
            self._counter_j += joules - self._counted[1]
            self._metered_s["counter"] += max(0.0, time - self._counted[0])
            self._pending_j = self._pending_s = 0.0
        self._settle()
        self._counted = (time, joules)

    def _settle(self) -> None:
        """Keep the power figure of a stretch that no counter covers: before its first or after its reset."""
        self._power_j += self._pending_j
        self._metered_s["power"] += self._pending_s
        self._pending_j = self._pending_s = 0.0

    def _note_sharing(self, sample: DeviceSample) -> None:
        others = [pid for pid, _ in sample.processes if pid != self._pid]
        if self._pid is None or len(others) == len(sample.processes):
            return  # this process is not listed, so neither can the others be told apart
        self._shared = bool(self._shared) or bool(others)


def _shown(sample: DeviceSample | None) -> float | None:
    """The reading that the energy is taken from."""
    if sample is None:
        return None
    return sample.power_w if sample.energy_j is None else sample.energy_j


def _name(counter_s: float, power_s: float) -> Method:
    if counter_s and power_s:
        return "both"
    if counter_s:
        return "energy counter"
    return "averaged power" if power_s else "none"


def near_cadence(step_s: float) -> bool:
    """Whether steps of this length beat with the 0.1 s in which boards renew their power readings.

    Boards that look at 25 ms of each 100 see the same part of every such step. At steps of exactly 0.1 s (75 % at
    310 W, 25 % at 110 W) that simulates to a standard deviation of 23 %, against under 1 % at 0.23 s.
    """
    refreshes = round(step_s / REFRESH_S)
    return 1 <= refreshes <= MANY_REFRESHES and abs(step_s - refreshes * REFRESH_S) <= NEAR_S
