"""Copies that a CPU's kernels make of operands of unlike precision, against what the profiler sees them take."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from studio.simulate.emulator import Flavour
from studio.simulate.ledger import Ledger
from studio.simulate.scratch import scratch_of

Operation = Callable[[Tensor, Tensor, Tensor], Tensor]
OPERATIONS: dict[str, Operation] = {
    "same": lambda wide, half, mask: wide * wide,
    "wide by half": lambda wide, half, mask: wide * half,
    "half less wide": lambda wide, half, mask: half - wide,
    "one row": lambda wide, half, mask: wide * half[:1],
    "a mask as a factor": lambda wide, half, mask: half * mask,
    "a number": lambda wide, half, mask: half * 2.0,
    "a tensor without dimensions": lambda wide, half, mask: half * wide.new_ones(()),
    "compared": lambda wide, half, mask: wide == half,
    "chosen": lambda wide, half, mask: torch.where(mask, wide, half),
    "chosen alike": lambda wide, half, mask: torch.where(mask, half, half),
    "masked": lambda wide, half, mask: half.masked_fill(mask, 0.0),
    "three": lambda wide, half, mask: torch.addcmul(wide, half, half),
    "wide in place": lambda wide, half, mask: wide.mul_(half),
    "half in place": lambda wide, half, mask: half.mul_(wide),
    "rounded": lambda wide, half, mask: wide.to(half.dtype),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_that_copies_of_operands_are_foreseen(name: str) -> None:
    operation = OPERATIONS[name]
    given = _operands("cpu")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        kept = operation(*given)
    live = highest = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            highest = max(highest, live)
    del kept
    with Ledger(scratch=scratch_of(Flavour())) as ledger:
        held = operation(*_operands("meta"))
    del held
    sizes, foreseen, now = ledger.sizes, 0, 0
    for event in ledger.events:
        now += sizes[abs(event) - 1] * (1 if event > 0 else -1)
        foreseen = max(foreseen, now)
    made = sum(tensor.untyped_storage().nbytes() for tensor in given)
    assert foreseen - made == pytest.approx(highest, abs=64)  # a scalar's copy
    assert highest > 0


def _operands(device: str) -> tuple[Tensor, Tensor, Tensor]:
    wide = torch.ones(64, 256, device=device)
    return wide, torch.ones(64, 256, device=device, dtype=torch.bfloat16), torch.ones_like(wide, dtype=torch.bool)
