"""Going on after memory ran out: the same work once more, with half as many rows at once."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from studio.engine.checkpoint import random_state, set_random_state
from studio.engine.memory import OutOfMemory
from studio.engine.session import Session
from studio.engine.telemetry import Telemetry

T = TypeVar("T")


def with_fewer_rows(session: Session, telemetry: Telemetry, rows: int, attempt: Callable[[int], T]) -> T:
    """``attempt(rows)``; as often as memory runs out where rows count, again with half of them, down to one.

    Every attempt begins without gradients and with the random numbers that the first began with. Rows do not count in
    an optimizer step: it needs the same memory whatever they are, and one that began may have changed some tensors
    already, so it is never done again.

    Raises:
        OutOfMemory: one row is too much, rows do not count, or the plan says to stop.
    """
    while True:
        before = random_state()
        try:
            return attempt(rows)
        except OutOfMemory as error:
            if rows == 1 or "rows" not in error.details or session.plan.on_oom == "stop":
                raise
            what = error.message
        # outside of the handler: until here the error kept the tensors of the failed attempt alive
        _release(session)
        set_random_state(before)
        telemetry.notice(
            f"{what}; going on with {rows // 2} instead of {rows} rows at once: every step has the same rows and, but "
            "for rounding and dropout's draws, the same result; it takes longer", "warning",
        )  # fmt: skip
        rows //= 2


def _release(session: Session) -> None:
    session.attached.flow.clear()
    session.optimizer.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
