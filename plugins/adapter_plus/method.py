"""Adapter+: y' = y + scale * up(gelu(down(y)))."""

from collections.abc import Mapping

import torch
from studio_plugins.adapter_plus.params import Params
from torch import Tensor
from torch.nn.functional import gelu, linear

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """The Post-Adapter of section 3.3 with channel-wise scaling and stochastic depth over rows."""
    cast = {name: tensor.to(y.dtype) for name, tensor in tensors.items()}
    hidden = gelu(linear(y, cast["down.weight"], cast["down.bias"]))
    change = linear(hidden, cast["up.weight"], cast["up.bias"]) * cast["scale"]
    if ctx.training and params.drop_path:
        kept = torch.rand(len(y), *[1] * (y.dim() - 1), device=y.device) >= params.drop_path
        change = change * (kept / (1 - params.drop_path)).to(y.dtype)
    return y + change
