"""Prefix tuning: keys and values, trained directly or through a network."""

from collections.abc import Mapping

import torch
from studio_plugins.prefix_tuning.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, Site


def prefix(params: Params, site: Site, tensors: Mapping[str, Tensor], ctx: Context) -> tuple[Tensor, Tensor]:
    """The keys and values (n, d_kv); with a network, MLP(P') of section 4.3 split in two."""
    if not params.bottleneck:
        return tensors["keys"], tensors["values"]
    hidden = torch.tanh(linear(tensors["embedding"], tensors["down.weight"], tensors["down.bias"]))
    keys, values = linear(hidden, tensors["up.weight"], tensors["up.bias"]).chunk(2, dim=-1)
    return keys, values
