"""One run of the engine's own step on meta tensors, written down as what it allocates and computes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from studio.core.plan import Plan
from studio.engine.batches import collate
from studio.engine.loop import step_over
from studio.engine.row_attention import attends_by_row
from studio.engine.session import Session
from studio.engine.tasks import batch_scores
from studio.simulate.emulator import Emulator, Flavour
from studio.simulate.ledger import Ledger
from studio.simulate.scratch import scratch_of
from studio.simulate.stand_in import Shape, open_session

KINDS = ("weights", "trainable", "gradients", "optimizer", "activations", "logits", "workspace")


@dataclass(frozen=True)
class Trace:
    """Storages (bytes and kind by number) and their events, see ``Ledger``; where each phase begins; operations.

    ``most``: of how many rows each storage is at most, however many there are.
    ``masks_packed``: one mask keeps all packed rows apart.
    """

    sizes: NDArray[np.int64]
    kinds: tuple[str, ...]
    most: NDArray[np.float64]
    events: NDArray[np.int64]
    marks: tuple[tuple[str, int], ...]
    flops: dict[str, int]
    masks_packed: bool = False

    def live(self) -> NDArray[np.int64]:
        """Bytes held after each event."""
        deltas = self.sizes[np.abs(self.events) - 1] * np.sign(self.events)
        return np.cumsum(deltas)

    @property
    def peak(self) -> int:
        return int(self.live().max())


def trace(plan: Plan, shape: Shape, flavour: Flavour, *, layers: int | None = None, held_out: int = 0) -> Trace:
    """A step over a micro-batch of ``shape`` and an evaluation of ``held_out`` rows like it.

    The optimizer has its moments already, as in all steps but the first.
    """
    session = open_session(plan, shape, like_cpu=flavour.kind == "cpu", layers=layers, held_out=held_out)
    ledger = Ledger(scratch=scratch_of(flavour), vocab=0 if plan.task == "classification" else _vocab(session.model))
    ledger.phase("load", "weights")
    for tensor in _held(session.model):
        ledger.note(tensor)
    ledger.phase("attach", "trainable")
    for tensor in (*session.attached.tensors.values(), *session.attached.buffers.values()):
        ledger.note(tensor)
    ledger.relabel(session.attached.tensors.values(), "trainable")
    ledger.phase("moments", "optimizer")
    for state in session.optimizer.state.values():
        for tensor in state.values():
            ledger.note(tensor)
    session.model.train()
    emulator = Emulator(flavour, on_backward=lambda: ledger.phase("backward", "workspace"))
    with _phases(session, ledger), emulator, ledger:
        step_over(session, session.train_rows)
        if held_out:
            ledger.phase("eval", "activations")
            _evaluate(session)
    return Trace(
        np.asarray(ledger.sizes, dtype=np.int64), tuple(ledger.kinds),
        np.asarray(ledger.most) * shape.rows, np.asarray(ledger.events, dtype=np.int64),
        tuple(ledger.marks), ledger.flops, plan.packing and not attends_by_row(session.model),
    )  # fmt: skip


def _vocab(model: nn.Module) -> int:
    return int(model.get_output_embeddings().weight.shape[0])  # type: ignore[operator]


def _evaluate(session: Session) -> None:
    """One batch of what ``evaluate`` does, without the scores of each row."""
    classes = session.plan.task == "classification"
    session.model.eval()
    with torch.no_grad():  # inference mode hides from a dispatcher what operations are made of
        batch = collate(session.eval_rows, pad_id=0, device=session.plan.device, packed=False, classes=classes)
        scores = batch_scores(session.model, batch)
        scores.loss.item()
        torch.eq(scores.best, batch.targets)


def _held(model: nn.Module) -> Iterator[Tensor]:
    """The tensors of a model; one that a trained master stands for is no parameter any more."""
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))


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
