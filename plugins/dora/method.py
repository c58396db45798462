"""DoRA's mathematics: the weight's rows keep a trained length while a low-rank product turns them."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.dora.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, Place, Setup, Site


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """The magnitudes of the weight as it is (equation 2)."""
    for place in places:
        place.tensors["m"].copy_(_norm(place.weight()))


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Equation 5 around the base's output, with the norm held constant in the backward pass (section 4.3)."""
    with torch.no_grad():
        norm = _norm(_turned(params, tensors, ctx.weight().float()))
    stretch = tensors["m"] / norm
    bias = ctx.bias()
    base = y if bias is None else y - bias
    change = linear(linear(x, tensors["A"].to(x.dtype)), tensors["B"].to(x.dtype))
    return y + base * (stretch - 1).to(x.dtype) + change * (stretch * params.alpha / params.rank).to(x.dtype)


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Equation 5 as a weight."""
    turned = _turned(params, tensors, weight)
    return turned * (tensors["m"] / _norm(turned).detach()).unsqueeze(-1), bias


def _turned(params: Params, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    return weight + params.alpha / params.rank * (tensors["B"] @ tensors["A"])


def _norm(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=-1)
