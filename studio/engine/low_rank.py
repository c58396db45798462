"""Linear maps of one input and their low-rank changes as one step of the graph, which keeps nothing twice."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from studio.api import LowRank
from studio.engine.dropout import draw_kept, mean_factor


def low_rank_linears(x: Tensor, bases: Sequence[nn.Linear], changes: Sequence[LowRank]) -> tuple[Tensor, ...]:
    """W x + b + scale * B A dropout(x), as in LoRA (arXiv 2106.09685, equation 3), for each frozen base W x + b.

    ``x`` (..., d_in) in the compute precision, to which the factors are cast here; their gradients come back in their
    own. Without dropout all A are one product. Kept for the backward pass: ``x``, which other maps keep as well, if an
    A learns, and A x if a B learns; the masks of the dropout are drawn again from their seeds.
    """
    factors = [factor for change in changes for factor in (change.a, change.b)]
    made: tuple[Tensor, ...] = _LowRankLinears.apply(x, bases, changes, *factors)  # type: ignore[no-untyped-call]
    return made


class _LowRankLinears(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bases: Sequence[nn.Linear], changes: Sequence[LowRank], *factors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        flat = _flat(x)
        ctx.bases, ctx.scales = bases, [change.scale for change in changes]
        ctx.dropouts = [change.dropout for change in changes]
        ctx.seeds = [int(torch.randint(2**31, (1,)).item()) if share else 0 for share in ctx.dropouts]
        a, b = factors[::2], factors[1::2]
        if any(ctx.dropouts):
            masks = (_mask(flat, *drawn) for drawn in zip(ctx.dropouts, ctx.seeds, strict=True))
            low = torch.cat([(flat * mask) @ each.to(x.dtype).T for mask, each in zip(masks, a, strict=True)], 1)
        else:
            low = flat @ _stacked(a, x.dtype).T
        outputs = []
        for base, part, each, scale in zip(bases, _parts(low, a), b, ctx.scales, strict=True):
            y = linear(x, base.weight, base.bias)
            _flat(y).addmm_(part, each.to(x.dtype).T, alpha=scale)
            outputs.append(y)
        learns = ctx.needs_input_grad[3:]
        ctx.save_for_backward(x if any(learns[::2]) else None, low if any(learns[1::2]) else None, *factors)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, low, *factors = ctx.saved_tensors
        a, b = factors[::2], factors[1::2]
        of_x, learns_a, learns_b = ctx.needs_input_grad[0], ctx.needs_input_grad[3::2], ctx.needs_input_grad[4::2]
        given = next(gradient for gradient in gradients if gradient is not None)
        flats = [given.new_zeros(given.shape[:-1].numel(), len(each)) if gradient is None else _flat(gradient)
                 for gradient, each in zip(gradients, b, strict=True)]  # fmt: skip
        through = None
        of_a: list[Tensor | None] = [None] * len(a)
        if of_x or any(learns_a):
            of_low = torch.cat([
                (flat @ each.to(flat.dtype)).mul_(scale)
                for flat, each, scale in zip(flats, b, ctx.scales, strict=True)
            ], 1)  # fmt: skip
            masks = _masks_again(ctx, of_low, a)
            if of_x:
                through = _through(flats, ctx.bases, of_low, a, masks).view(*given.shape[:-1], -1)
            if any(learns_a):
                of_a = _of_a(_flat(x), of_low, a, masks)
        of_b: list[Tensor | None] = [None] * len(b)
        if any(learns_b):
            # this way round it takes half the time on a CPU
            of_b = [
                (part.T @ flat).mul_(scale).T.to(each.dtype)
                for part, flat, scale, each in zip(_parts(low, a), flats, ctx.scales, b, strict=True)
            ]
        return (through, None, None, *(each for pair in zip(of_a, of_b, strict=True) for each in pair))


def _through(
    flats: Sequence[Tensor], bases: Sequence[nn.Linear], of_low: Tensor, a: Sequence[Tensor], masks: list[Tensor]
) -> Tensor:
    """The gradient of the input."""
    through = flats[0] @ bases[0].weight
    for flat, base in zip(flats[1:], bases[1:], strict=True):
        through.addmm_(flat, base.weight)
    if not masks:
        return through.addmm_(of_low, _stacked(a, of_low.dtype))
    for part, each, mask in zip(_parts(of_low, a), a, masks, strict=True):
        through.addcmul_(part @ each.to(part.dtype), mask)
    return through


def _of_a(x: Tensor, of_low: Tensor, a: Sequence[Tensor], masks: list[Tensor]) -> list[Tensor | None]:
    """The gradients of the factors that read the input."""
    if not masks:
        return [part.to(each.dtype) for part, each in zip(_parts(of_low.T @ x, a, 0), a, strict=True)]
    return [(part.T @ (x * mask)).to(each.dtype) for part, each, mask in zip(_parts(of_low, a), a, masks, strict=True)]


def _masks_again(ctx: Any, like: Tensor, a: Sequence[Tensor]) -> list[Tensor]:
    if not any(ctx.dropouts):
        return []
    shape = like.new_empty(like.shape[0], a[0].shape[1])
    return [_mask(shape, share, seed) for share, seed in zip(ctx.dropouts, ctx.seeds, strict=True)]


def _stacked(factors: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    return factors[0].to(dtype) if len(factors) == 1 else torch.cat([each.to(dtype) for each in factors])


def _parts(low: Tensor, a: Sequence[Tensor], axis: int = 1) -> tuple[Tensor, ...]:
    """What belongs to each factor."""
    return torch.split(low, [len(each) for each in a], axis)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _mask(like: Tensor, share: float, seed: int) -> Tensor:
    """A factor per entry: 0 for those dropped; equal seeds choose the same ones."""
    generator = torch.Generator(like.device).manual_seed(seed)
    return draw_kept(like.shape, share, like.device, generator).to(like.dtype).mul_(mean_factor(share))
