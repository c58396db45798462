"""LoRA's mathematics: y + scale * B (A dropout(x)), less what the factors started from."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.lora.params import Params
from torch import Tensor
from torch.nn.functional import dropout, linear

from studio.api import Context, LowRank, Place, Setup, Site


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Start from leading directions of the weight: triplets for PiSSA (equations 2 and 3), W = Q R for OLoRA."""
    if params.init not in ("pissa", "olora"):
        return
    for place in places:
        tensors = place.tensors
        a, b = (_singular if params.init == "pissa" else _orthonormal)(params, place.weight(), tensors["A"].shape[-2])
        for name, start in (("A", a), ("B", b)):
            tensors[name].copy_(start)
            tensors[f"{name}0"].copy_(start)


def _singular(params: Params, weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    root = (s[..., :rank] / scale(params)).sqrt()
    return root.unsqueeze(-1) * v[..., :rank, :], u[..., :rank] * root.unsqueeze(-2)


def _orthonormal(params: Params, weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    q, r = torch.linalg.qr(weight)
    return r[..., :rank, :], q[..., :rank]


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Equation 3 of the paper, the factors cast to the input's precision."""
    kept = dropout(x, params.dropout, ctx.training) if params.dropout else x
    change = _product(tensors["A"], tensors["B"], kept)
    if "A0" in tensors:
        change = change - _product(tensors["A0"], tensors["B0"], x)
    return y + change * scale(params)


def low_rank(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> LowRank | None:
    """The factors, unless what they started from is taken off: that must cancel exactly."""
    if "A0" in tensors:
        return None
    return LowRank(tensors["A"], tensors["B"], scale(params), params.dropout)


def _product(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    return linear(linear(x, a.to(x.dtype)), b.to(x.dtype))


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + scale * B A, less scale * B0 A0."""
    change = tensors["B"] @ tensors["A"]
    if "A0" in tensors:
        change = change - tensors["B0"] @ tensors["A0"]
    return weight + scale(params) * change, bias


def lora_factors(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, float]:
    """The factors as they are; with a start to take off, twice the rank: B A - B0 A0 = [B, -B0] [A; A0]."""
    if "A0" not in tensors:
        return tensors["A"], tensors["B"], scale(params)
    a = torch.cat([tensors["A"], tensors["A0"]])
    return a, torch.cat([tensors["B"], -tensors["B0"]], dim=1), scale(params)


def scale(params: Params) -> float:
    """alpha / r, or alpha / sqrt(r) with the rank-stabilised scale."""
    return params.alpha / (params.rank**0.5 if params.rslora else params.rank)
