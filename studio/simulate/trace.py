"""One run of the engine's own step on meta tensors, written down as what it allocates and computes."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from studio.core.plan import Plan
from studio.engine.evaluate import evaluate
from studio.engine.loop import step_over
from studio.engine.session import Session
from studio.simulate.emulator import Emulator, Flavour
from studio.simulate.ledger import Ledger
from studio.simulate.scratch import scratch_of
from studio.simulate.stand_in import Shape, open_session

KINDS = ("weights", "trainable", "gradients", "optimizer", "activations", "logits", "workspace")


@dataclass(frozen=True)
class Trace:
    """Storages (bytes and kind by number) and their events, see ``Ledger``; where each phase begins; operations."""

    sizes: NDArray[np.int64]
    kinds: tuple[str, ...]
    events: NDArray[np.int64]
    marks: tuple[tuple[str, int], ...]
    flops: dict[str, int]

    def live(self) -> NDArray[np.int64]:
        """Bytes held after each event."""
        deltas = self.sizes[np.abs(self.events) - 1] * np.sign(self.events)
        return np.cumsum(deltas)

    @property
    def peak(self) -> int:
        return int(self.live().max())


def trace(plan: Plan, shape: Shape, flavour: Flavour, *, layers: int | None = None, held_out: int = 0) -> Trace:
    """Two steps over a micro-batch of ``shape`` and an evaluation of ``held_out`` rows like it."""
    session = open_session(plan, shape, layers=layers, held_out=held_out)
    ledger = Ledger(scratch=scratch_of(flavour), vocab=0 if plan.task == "classification" else _vocab(session.model))
    ledger.phase("load", "weights")
    for tensor in (*session.model.parameters(), *session.model.buffers()):
        ledger.note(tensor)
    ledger.phase("attach", "trainable")
    for tensor in (*session.attached.tensors.values(), *session.attached.buffers.values()):
        ledger.note(tensor)
    ledger.relabel(session.attached.tensors.values(), "trainable")
    session.model.train()
    with _undisturbed(), _phases(session, ledger), Emulator(flavour), ledger:
        for _ in range(2):
            step_over(session, session.train_rows)
            session.progress.step += 1
        if held_out:
            ledger.phase("eval", "activations")
            evaluate(session.model, session.eval_rows, session.plan, pad_id=0)
    return Trace(
        np.asarray(ledger.sizes, dtype=np.int64), tuple(ledger.kinds), np.asarray(ledger.events, dtype=np.int64),
        tuple(ledger.marks), ledger.flops,
    )  # fmt: skip


def _vocab(model: nn.Module) -> int:
    return int(model.get_output_embeddings().weight.shape[0])  # type: ignore[operator]


@contextmanager
def _phases(session: Session, ledger: Ledger) -> Iterator[None]:
    """Mark where forward, backward and optimizer begin, and what the gradients and states are."""
    tensors = list(session.attached.tensors.values())

    def forward(*_: Any) -> None:
        if session.model.training:
            ledger.phase("forward", "activations")

    def gradients(*_: Any) -> None:
        ledger.relabel([tensor.grad for tensor in tensors if tensor.grad is not None], "gradients")
        ledger.phase("optimizer", "optimizer")

    hook = session.model.register_forward_pre_hook(forward)
    step = session.optimizer.register_step_pre_hook(gradients)
    try:
        yield
    finally:
        hook.remove()
        step.remove()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the cycle collector, so that tensors go when nothing refers to them and at no other time."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
