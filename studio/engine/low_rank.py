"""A linear map and its low-rank change as one step of the graph, which keeps nothing twice."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from studio.api import LowRank


def low_rank_linear(x: Tensor, base: nn.Linear, change: LowRank) -> Tensor:
    """W x + b + scale * B A dropout(x), as in LoRA (arXiv 2106.09685, equation 3), for a frozen ``base`` W x + b.

    ``x`` (..., d_in) in the compute precision, to which the factors are cast here; their gradients come back in their
    own. Kept for the backward pass: ``x``, which other maps keep as well, if A learns,
    and A x if B learns; the mask of the dropout is drawn again from its seed.
    """
    made: Tensor = _LowRankLinear.apply(x, base, *change)  # type: ignore[no-untyped-call]
    return made


class _LowRankLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, base: nn.Linear, a: Tensor, b: Tensor, scale: float, dropout: float) -> Tensor:
        y = linear(x, base.weight, base.bias)
        flat = _flat(x)
        ctx.base, ctx.scale, ctx.dropout = base, scale, dropout
        ctx.seed = int(torch.randint(2**31, (1,)).item()) if dropout else 0
        low = (flat * _mask(flat, dropout, ctx.seed) if dropout else flat) @ a.to(x.dtype).T
        _flat(y).addmm_(low, b.to(x.dtype).T, alpha=scale)
        learns_a, learns_b = ctx.needs_input_grad[2:4]
        ctx.save_for_backward(x if learns_a else None, low if learns_b else None, a, b)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, low, a, b = ctx.saved_tensors
        of_x, _, of_a, of_b = ctx.needs_input_grad[:4]
        flat = _flat(gradient)
        of_low = (flat @ b.to(flat.dtype)).mul_(ctx.scale) if of_x or of_a else None
        mask = _mask(flat.new_empty(flat.shape[0], a.shape[1]), ctx.dropout, ctx.seed) if ctx.dropout else None
        through = kept = made = None
        if of_x and of_low is not None:
            through = flat @ ctx.base.weight
            if mask is None:
                through.addmm_(of_low, a.to(flat.dtype))
            else:
                through.addcmul_(of_low @ a.to(flat.dtype), mask)
            through = through.view(*gradient.shape[:-1], a.shape[1])
        if of_a and of_low is not None:
            kept = (of_low.T @ (_flat(x) if mask is None else _flat(x) * mask)).to(a.dtype)
        if of_b:
            made = (low.T @ flat).mul_(ctx.scale).T.to(b.dtype)  # this way round it takes half the time on a CPU
        return through, None, kept, made, None, None


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _mask(like: Tensor, share: float, seed: int) -> Tensor:
    """A factor per entry: 0 for a share of them, 1 / (1 - share) for the rest; equal seeds choose the same ones."""
    generator = torch.Generator(like.device).manual_seed(seed)
    return torch.empty_like(like).bernoulli_(1 - share, generator=generator).div_(1 - share)
