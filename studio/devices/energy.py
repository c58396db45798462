"""Energy between two moments, from the most trustworthy meter that a device has."""

import threading
from dataclasses import dataclass
from typing import Literal

from studio.core.facts import DeviceSample
from studio.devices.machine import power_is_averaged, sample
from studio.devices.sampler import Read

AVERAGE_S = 1.0  # the stretch that averaged power looks back on
LONGEST_STEP_S = 10.0  # a trapezoid over a longer gap (a suspended laptop) would be invention

Method = Literal["energy counter", "averaged power", "both", "none"]


@dataclass(frozen=True)
class Energy:
    """What a meter saw.

    ``joules`` is None when the device has no meter. ``unmetered_s`` of ``seconds`` are in no figure. ``shared``
    says whether other processes used the device meanwhile (None: the driver does not tell); their energy is
    in ``joules`` too.
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
    power are never integrated, because their polling aliases with the steps of a training run.
    """

    def __init__(
        self, device_id: str, pid: int | None = None, *, averaged: bool | None = None, read: Read | None = sample
    ) -> None:
        self._averaged = power_is_averaged(device_id) if averaged is None else averaged
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
        self._take()

    def add(self, sample: DeviceSample) -> None:
        """Take in the next sample; one that is older than the last adds nothing but its counter."""
        with self._lock:
            if self._last is not None:
                self._add_power(self._last, sample)
            if sample.energy_j is not None:
                self._add_counter(sample.time, sample.energy_j)
            self._first = self._first or sample
            self._last = sample
            self._note_sharing(sample)

    def joules(self) -> float | None:
        """Energy since the meter was made, up to now; None if the device has no meter."""
        self._take()
        return self.total().joules

    def total(self) -> Energy:
        """The energy from the first to the last sample."""
        with self._lock:
            return self._total()

    def _take(self) -> None:
        if self._read is not None:
            self.add(self._read(self._device_id, self._pid))

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
        if not self._averaged or before.power_w is None or after.power_w is None or not 0 < step_s <= LONGEST_STEP_S:
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


def _name(counter_s: float, power_s: float) -> Method:
    if counter_s and power_s:
        return "both"
    if counter_s:
        return "energy counter"
    return "averaged power" if power_s else "none"
