"""MixDA: o = sum over k of w_k K_k(a), and w_F F(a)."""

from collections.abc import Mapping

import torch
from studio_plugins.mixda.params import Params
from torch import Tensor
from torch.nn.functional import gelu, linear, relu

from studio.api import Context, Site, Tokens


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Section 3 of the paper; x (..., i) is the feed-forward's inner activation a, y (..., d) its output F(a)."""
    cast = {name: tensor.to(x.dtype) for name, tensor in tensors.items()}
    weights = _gate(params, cast, x, ctx.tokens)
    mixed = weights[..., -1:] * y
    for k in range(params.domains):
        hidden = gelu(linear(x, cast[f"{k}.down.weight"], cast[f"{k}.down.bias"]))
        mixed = mixed + weights[..., k : k + 1] * linear(hidden, cast[f"{k}.up.weight"], cast[f"{k}.up.bias"])
    return mixed


def _gate(params: Params, tensors: Mapping[str, Tensor], x: Tensor, tokens: Tokens | None) -> Tensor:
    """The weights (..., n + 1) of the domains and of the base's own output."""
    per_sequence = params.gate == "softmax per sequence"
    if per_sequence and tokens is not None and tokens.causal:
        raise ValueError("a gate per sequence needs an encoder; choose the one per token")
    read = _first(x, tokens) if per_sequence else x
    hidden = relu(linear(read, tensors["gate.down.weight"], tensors["gate.down.bias"]))
    bias = torch.cat([tensors["gate.domains.bias"], tensors["gate.base.bias"]])
    scores = linear(hidden, tensors["gate.up.weight"], bias)
    return scores.softmax(-1) if per_sequence else scores.sigmoid()


def _first(x: Tensor, tokens: Tokens | None) -> Tensor:
    """For every token of x (B, S, i) what stands at the first one of its sequence."""
    if tokens is None:
        return x[:, :1]
    index = torch.arange(x.shape[1], device=x.device)
    start = torch.where(tokens.positions == 0, index, 0).cummax(1).values
    return x.gather(1, start.expand(x.shape[:2]).unsqueeze(-1).expand_as(x))
