"""Which entries dropout keeps, from 16 random bits each: several times as fast as torch's draws on a CPU."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_STEPS = 1 << 16


def keep_factors(
    shape: Sequence[int], share: float, *, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> Tensor:
    """A factor per entry: 0 for a ``share`` of them, to the next 65,536th, and for the rest what keeps the mean.

    Equal generators choose the same entries.
    """
    dropped = min(round(share * _STEPS), _STEPS - 1)
    count = math.prod(shape)
    drawn = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(2**63), None, generator=generator)
    kept = drawn.view(torch.int16)[:count].view(*shape) >= dropped - _STEPS // 2
    return kept.to(dtype).mul_(_STEPS / (_STEPS - dropped))
