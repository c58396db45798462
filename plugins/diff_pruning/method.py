"""Diff pruning: changes under hard-concrete gates (Louizos et al., arXiv 1712.01312), stretched to (-1.5, 1.5)."""

import math
from collections.abc import Mapping, Sequence

import torch
from studio_plugins.diff_pruning.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, Place, Site, Step

LOW, HIGH = -1.5, 1.5
FIXED = 20.0  # a location at which a gate is always fully open, or, below zero, fully shut


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """y + (z * w) x; z is drawn while training and its median otherwise."""
    return y + linear(x, _change(tensors, noisy=ctx.training).to(x.dtype))


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + z * w, the gates at their median."""
    return weight + _change(tensors, noisy=False), bias


def extra_loss(params: Params, places: Sequence[Place], step: Step) -> Tensor:
    """The penalty times the expected number of open gates (equation 3)."""
    open_gates: Tensor = torch.stack([_expected(place.tensors) for place in places]).sum()
    return open_gates * params.penalty


def on_step(params: Params, places: Sequence[Place], step: Step) -> None:
    """Once, keep the largest changes of all and shut the gates of the others (section 3.3)."""
    if step.step != max(1, round(params.prune_at * step.steps)):
        return
    sizes = [_change(place.tensors, noisy=False).abs() for place in places]
    threshold = _threshold(torch.cat([size.flatten() for size in sizes]), params.density)
    for place, size in zip(places, sizes, strict=True):
        gates = _gates(place.tensors, noisy=False)
        kept = (size >= threshold) & (size > 0)
        place.tensors["change"].mul_(gates)
        place.tensors["alpha"].copy_(torch.where(kept, FIXED, -FIXED))
        if "group" in place.tensors:
            place.tensors["group"].fill_(FIXED)


def _threshold(sizes: Tensor, density: float) -> Tensor:
    """The smallest size that stays; above all of them if none does."""
    kept = int(density * sizes.numel())
    return sizes.kthvalue(sizes.numel() - kept + 1).values if kept else sizes.max() + 1


def _change(tensors: Mapping[str, Tensor], *, noisy: bool) -> Tensor:
    return _gates(tensors, noisy=noisy) * tensors["change"]


def _gates(tensors: Mapping[str, Tensor], *, noisy: bool) -> Tensor:
    """z of every weight, times its matrix's in the structured variant."""
    gates = gate(tensors["alpha"], noisy=noisy)
    return gates * gate(tensors["group"], noisy=noisy)[..., None] if "group" in tensors else gates


def gate(alpha: Tensor, *, noisy: bool) -> Tensor:
    """min(1, max(0, s)) for a stretched concrete s with this location (section 3.1)."""
    noise = torch.rand_like(alpha).clamp_(1e-6, 1 - 1e-6).logit() if noisy else 0.0
    return (torch.sigmoid(alpha + noise) * (HIGH - LOW) + LOW).clamp(0, 1)


def _expected(tensors: Mapping[str, Tensor]) -> Tensor:
    """How many gates of a matrix are expected to be open."""
    shift = math.log(-LOW / HIGH)
    open_ = torch.sigmoid(tensors["alpha"] - shift).sum((-2, -1))
    return (open_ * torch.sigmoid(tensors["group"] - shift).squeeze(-1) if "group" in tensors else open_).sum()
