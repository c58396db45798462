"""A thread that reads a device at a steady pace."""

import logging
import threading
import time
from collections.abc import Callable

from studio.core.errors import MachineError
from studio.core.facts import DeviceSample
from studio.devices.machine import sample

log = logging.getLogger(__name__)

STOP_WITHIN_S = 0.2
Read = Callable[[str, int | None], DeviceSample]
Sink = Callable[[DeviceSample], None]


class Sampler:
    """Hands ``sink`` a sample every ``interval_s``, from its own thread, until ``stop``.

    A device that fails to answer costs that sample and no more; ``problem`` then says why. What the sink
    raises is not caught: it ends the thread and is reported like any error in a thread.
    """

    def __init__(self, device_id: str, pid: int | None, interval_s: float, sink: Sink, *, read: Read = sample) -> None:
        self.problem = ""
        self._device_id = device_id
        self._pid = pid
        self._interval_s = interval_s
        self._sink = sink
        self._read = read
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sampler {device_id}", daemon=True)

    def start(self) -> None:
        """Begin; the first sample comes at once."""
        self._thread.start()

    def stop(self) -> None:
        """End within 0.2 s, even if a driver call hangs: no sample is handed out once this returns."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WITHIN_S)

    def __enter__(self) -> "Sampler":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            taken = self._take()
            if taken is not None and not self._stopping.is_set():
                self._sink(taken)
            due = max(due + self._interval_s, time.monotonic())  # after a stall, no burst to catch up

    def _take(self) -> DeviceSample | None:
        try:
            taken = self._read(self._device_id, self._pid)
        except MachineError as error:
            if str(error) != self.problem:
                log.info("no sample of %s: %s", self._device_id, error)
            self.problem = str(error)
            return None
        self.problem = ""
        return taken
