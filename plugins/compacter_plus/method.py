"""Hypercomplex adapters: y' = y + up(gelu(down(y))) with both matrices as sums of Kronecker products."""

from collections.abc import Mapping

import torch
from studio_plugins.compacter_plus.params import Params
from torch import Tensor
from torch.nn.functional import gelu

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Equation 5 of the paper in the place of both projections of an adapter."""
    hidden = gelu(_layer(tensors, "down", y), approximate="tanh")
    return y + _layer(tensors, "up", hidden)


def _layer(tensors: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """x H + b with H = sum_i A_i (x) s_i t_i^T; no Kronecker product is formed.

    x (..., k) is read as (..., n, k / n), contracted with s, mixed by A and spread by t.
    """
    a = tensors["A" if "A" in tensors else f"{name}.A"].to(x.dtype)
    s, t, bias = (tensors[f"{name}.{part}"].to(x.dtype) for part in ("s", "t", "bias"))
    parts = x.reshape(*x.shape[:-1], a.shape[0], -1)
    low = torch.einsum("...pk,ikr->...pir", parts, s)
    mixed = torch.einsum("...pir,ipq->...qir", low, a)
    return torch.einsum("...qir,idr->...qd", mixed, t).flatten(-2) + bias
