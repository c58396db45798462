"""NVML kept alive: every question gets a value or a reason, whatever the driver does."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from studio.devices.reading import Missing

log = logging.getLogger(__name__)
T = TypeVar("T")
Handle = Any  # pynvml has no types

RESTART_PAUSE_S = 30.0


class Nvml:
    """One NVML session for the process; started on first use, restarted when the driver asks for it.

    A GPU is named by its UUID and its handle looked up for each question, because handles die with a session
    and indices move when a GPU drops off the bus.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self._started = False
        self._restarted_at: float | None = None

    def uuids(self) -> list[str] | Missing:
        """The GPUs in NVML's order, which is that of the PCI bus; lost ones are left out."""
        return self._try(_enumerate)

    def driver(self) -> str | Missing:
        """The driver's version."""
        import pynvml

        return self._try(lambda: str(pynvml.nvmlSystemGetDriverVersion()))

    def ask(self, uuid: str, question: Callable[[Handle], T]) -> T | Missing:
        """The answer of one GPU to one NVML call."""
        import pynvml

        return self._try(lambda: question(pynvml.nvmlDeviceGetHandleByUUID(uuid)))

    def _try(self, call: Callable[[], T]) -> T | Missing:
        import pynvml

        try:
            self._start()
            return call()
        except pynvml.NVMLError as error:
            if not self._may_restart(error.value):
                return Missing(explain(error))
        try:
            self._restart()
            return call()
        except pynvml.NVMLError as error:
            return Missing(explain(error))

    def _start(self) -> None:
        import pynvml

        with self._lock:
            if not self._started:
                pynvml.nvmlInit()
                self._started = True

    def _may_restart(self, code: int) -> bool:
        """Whether a fresh session can cure the error; at most once in a while, since each costs time."""
        import pynvml

        curable = (pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_UNKNOWN)
        if not self._started or code not in curable:
            return False
        return self._restarted_at is None or self._clock() - self._restarted_at >= RESTART_PAUSE_S

    def _restart(self) -> None:
        import pynvml

        log.info("restarting the NVML session")
        with self._lock:
            self._restarted_at = self._clock()
            self._started = False
            try:
                pynvml.nvmlShutdown()
            except pynvml.NVMLError as error:
                log.debug("NVML did not shut down: %s", error)  # it is gone either way
            self._start()


def _enumerate() -> list[str]:
    import pynvml

    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            found.append(str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index))))
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_UNINITIALIZED:
                raise
            log.info("GPU %d does not answer: %s", index, error)
    return found


def explain(error: Any) -> str:
    """An NVML error in words for the user."""
    import pynvml

    words = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver is installed",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
        pynvml.NVML_ERROR_NOT_SUPPORTED: "this GPU does not report it",
        pynvml.NVML_ERROR_NO_PERMISSION: "the driver does not allow this user to read it",
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the driver is too old to report it",
        pynvml.NVML_ERROR_GPU_IS_LOST: "the driver has lost the GPU; a reboot usually brings it back",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the driver was updated; reboot to load it",
    }
    return words.get(error.value, f"the driver says: {error}")
