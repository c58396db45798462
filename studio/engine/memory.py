"""Running out of memory, told with the phase it happened in, what was asked for and what was held."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from studio.core.errors import MachineError
from studio.core.units import GIB, KIB, MIB, format_bytes
from studio.engine.attach import Attached

Phase = Literal[
    "reading the data", "loading the model", "placing the method", "forward pass", "backward pass", "optimizer step",
    "evaluation", "writing samples", "saving",
]  # fmt: skip
Facts = Callable[[], dict[str, Any]]

_HINTS: dict[str, str] = {
    "reading the data": "set data.max_rows, or close other programs",
    "loading the model": "choose a smaller model or train.precision bf16, or close other programs",
    "placing the method": "choose fewer positions or smaller sizes",
    "optimizer step": "choose fewer positions or smaller sizes: the optimizer keeps 8 bytes a trained parameter",
    "saving": "resume the run; if it happens again, choose fewer positions",
}
_SMALLER_ROWS = "lower data.max_length or train.micro_batch, set train.checkpointing to true, or choose fewer positions"
_WORDS = re.compile(r"out of memory|not enough memory|can't allocate memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE)
_ASKED = re.compile(r"allocate ([\d.]+) ?(bytes|KiB|MiB|GiB)", re.IGNORECASE)
_UNITS = {"bytes": 1, "kib": KIB, "mib": MIB, "gib": GIB}


class OutOfMemory(MachineError):  # noqa: N818 - the name that event logs have for it
    """A phase of a run ran out of memory.

    ``details`` has ``phase``, ``asked_bytes`` (None if the allocator did not say), ``held_bytes``, ``held`` (bytes by
    kind of tensor; ``other`` is the rest, on a CPU with the process itself), ``total_bytes`` and ``free_bytes`` of the
    device, on CUDA ``reserved_bytes``, and once training can begin ``step``, the steps done, and the ``rows`` at once.
    """

    def __init__(self, phase: Phase, details: dict[str, Any]) -> None:
        place = f" after step {details['step']}" if "step" in details else ""
        rows = f" with {details['rows']} at once" if "rows" in details else ""
        asked = details["asked_bytes"]
        more = "" if asked is None else f"{format_bytes(asked)} more asked for, "
        kinds = ", ".join(f"{name} {format_bytes(bytes_)}" for name, bytes_ in details["held"].items() if bytes_)
        super().__init__(
            f"out of memory, {phase}{place}{rows}: {more}{format_bytes(details['held_bytes'])} held ({kinds})",
            hint=_HINTS.get(phase, _SMALLER_ROWS),
            details=details,
        )


@dataclass
class Watch:
    """Follows what a worker does, phase by phase.

    ``facts`` tells on demand what is ``held`` (bytes by kind) and where training stands; ``ended`` hears of every
    phase that went well.
    """

    device: str
    facts: Facts = dict
    ended: Callable[[str], None] = lambda _: None

    @contextmanager
    def during(self, phase: Phase, rows: int | None = None) -> Iterator[None]:
        """Raises OutOfMemory for whatever inside runs out of memory, also where a plugin's error or ours hides it.

        ``rows`` are those worked on at once, where they count: with fewer of them it would need less.
        """
        try:
            yield
        except Exception as error:
            cause = _shortage(error)
            if cause is None or isinstance(error, OutOfMemory):
                raise
            details = {} if rows is None else {"rows": rows}
            raise OutOfMemory(phase, {**self._details(phase, str(cause)), **details}) from error
        self.ended(phase)

    def _details(self, phase: Phase, message: str) -> dict[str, Any]:
        facts = {"held": {}, **self.facts()}
        room = _room(self.device)
        known = sum(facts["held"].values())
        held = {**facts["held"], "other": max(0, room["held_bytes"] - known)}
        return {"phase": phase, "asked_bytes": _asked(message), **room, **facts, "held": held}


def held_bytes(
    model: nn.Module, attached: Attached | None = None, optimizer: torch.optim.Optimizer | None = None
) -> dict[str, int]:
    """Bytes of the live tensors by kind: weights, trainable, gradients, optimizer; each storage counts once."""
    trained = [] if attached is None else list(attached.tensors.values())
    states = [] if optimizer is None else [value for state in optimizer.state.values() for value in state.values()]
    seen: set[int] = set()
    return {
        "trainable": _bytes(trained, seen),
        "gradients": _bytes((tensor.grad for tensor in trained), seen),
        "optimizer": _bytes(states, seen),
        "weights": _bytes(_stored(model), seen),
    }


def _stored(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():  # where trained in fp32, the base's own tensor is a plain attribute
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))


def _bytes(tensors: Iterable[Any], seen: set[int]) -> int:
    total = 0
    for tensor in tensors:
        if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in seen:
            seen.add(tensor.untyped_storage().data_ptr())
            total += tensor.untyped_storage().nbytes()
    return total


def _shortage(error: BaseException | None) -> BaseException | None:
    """The failed allocation behind an error, if there is one."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return error
        if isinstance(error, RuntimeError) and _WORDS.search(str(error)):  # the CPU's allocator, CUDA libraries
            return error
        error = error.__cause__
    return None


def _asked(message: str) -> int | None:
    found = _ASKED.search(message)
    return None if found is None else round(float(found[1]) * _UNITS[found[2].lower()])


def _room(device: str) -> dict[str, int]:
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        stats = torch.cuda.memory_stats(device)
        return {
            "held_bytes": stats["allocated_bytes.all.current"], "reserved_bytes": stats["reserved_bytes.all.current"],
            "total_bytes": total, "free_bytes": free,
        }  # fmt: skip
    import psutil

    memory = psutil.virtual_memory()
    held = psutil.Process().memory_info().rss
    return {"held_bytes": held, "total_bytes": memory.total, "free_bytes": memory.available}
