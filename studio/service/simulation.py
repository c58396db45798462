"""Asking the process that simulates training steps: started once, kept warm, started anew when it dies."""

import atexit
import json
import threading
import time
from collections import OrderedDict
from functools import cache

from studio.core.errors import StudioError
from studio.core.facts import DeviceFacts
from studio.core.paths import home
from studio.core.plan import Plan
from studio.estimate.profile import MemoryProfile
from studio.extensions.helper_process import HelperProcess

AMPERE = (8, 0)
TIMEOUT_S = 60.0  # the first answer waits for torch and transformers
MOST_KEPT = 256
# what of a plan changes nothing about a step's memory per row
_ELSEWHERE = {
    "device", "device_name", "micro_batch", "accumulation", "effective_batch", "steps", "tokens_per_step",
    "learning_rate", "weight_decay", "schedule", "warmup_steps", "eval_every", "save_every", "keep_checkpoints",
    "early_stopping", "seed", "limit_seconds", "limit_watt_hours", "date", "start", "autos", "train_rows", "eval_rows",
    "split_seed", "max_rows", "max_length", "data_source", "data_path", "data_fingerprint", "format", "columns",
    "on_oom",
}  # fmt: skip


class SimulationError(StudioError):
    """The step could not be simulated; the formula stands in."""


class Simulator:
    """One warm process; threads take turns. What was simulated or failed once is remembered."""

    def __init__(self, timeout_s: float = TIMEOUT_S, module: str = "studio.simulate") -> None:
        self._timeout_s = timeout_s
        self._module = module
        self._lock = threading.Lock()
        self._process: HelperProcess | None = None
        self._closed = False
        self._known: OrderedDict[str, MemoryProfile | str] = OrderedDict()

    def warm(self) -> None:
        """Start the process if it is not running; returns at once."""
        with self._lock:
            self._started()

    def profile(self, plan: Plan, device: DeviceFacts, *, length: int, trained: int, alone: bool) -> MemoryProfile:
        """The memory of the plan's step for any number of rows from two on, or for one row ``alone``.

        Raises:
            SimulationError: it cannot be simulated, or the process hung (it is not asked either again) or died.
        """
        described = plan.model_dump(mode="json")
        request: dict[str, object] = {
            "plan": described, "length": length, "trained": trained, "alone": alone,
            "kind": device.kind, "capability": _generation(device),
        }  # fmt: skip
        compared = {name: value for name, value in described.items() if name not in _ELSEWHERE}
        key = json.dumps({**request, "plan": compared}, sort_keys=True)
        with self._lock:
            if key not in self._known:
                self._known[key] = self._ask(request)
                while len(self._known) > MOST_KEPT:
                    self._known.popitem(last=False)
            found = self._known[key]
        if isinstance(found, str):
            raise SimulationError(found)
        return found

    @property
    def is_warm(self) -> bool:
        """Whether the process is there; its first answer may still take a while."""
        return self._process is not None

    def close(self) -> None:
        """End the process for good; a question under way ends with it."""
        self._closed = True
        if self._process:
            self._process.end()
        with self._lock:
            self._end()

    def _ask(self, request: dict[str, object]) -> MemoryProfile | str:
        """The profile, or why there is none: what fails or hangs will do so again, what was killed may not."""
        started = time.monotonic()
        line, wrong = self._started().exchange(json.dumps(request).encode() + b"\n")
        if wrong:
            self._end()
            if time.monotonic() - started < self._timeout_s:
                raise SimulationError(f"the simulation {wrong}")
            return f"the simulation {wrong}"
        try:
            answer = json.loads(line)
            return MemoryProfile.model_validate(answer["profile"]) if "profile" in answer else str(answer["error"])
        except (ValueError, TypeError, KeyError) as error:
            self._end()
            raise SimulationError("the simulation gives no answer but something else") from error

    def _started(self) -> HelperProcess:
        if self._closed:
            raise SimulationError("the simulation has ended with the studio")
        self._process = self._process or HelperProcess(
            self._module, [], log=home().logs / "simulation.log", timeout_s=self._timeout_s, cwd=home().root,
            environment={
                "PET_STUDIO_HOME": str(home().root), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "",
                "OMP_NUM_THREADS": "1", "KINETO_LOG_LEVEL": "99",  # else torch's profiler tells of each time it is used
            },
        )  # fmt: skip
        return self._process

    def _end(self) -> None:
        if self._process:
            self._process.end()
        self._process = None


def _generation(device: DeviceFacts) -> tuple[int, int]:
    """The compute capability as far as it decides which kernels run: from Ampere on they are the same."""
    return min(device.compute_capability or (0, 0), AMPERE)


@cache
def simulator() -> Simulator:
    """The simulator of this process; its process ends with this one."""
    shared = Simulator()
    atexit.register(shared.close)
    return shared


def warm_simulator() -> Simulator | None:
    """The simulator if its process is there: what has been shown rests on it, so what is started shall too."""
    return simulator() if simulator().is_warm else None
