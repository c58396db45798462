"""MAM: keys and values before those of an attention, and y' = y + s * up(relu(down(x)))."""

from collections.abc import Mapping

import torch
from studio_plugins.mam_adapter.params import Params
from torch import Tensor
from torch.nn.functional import linear, relu

from studio.api import Context, Site


def prefix(params: Params, site: Site, tensors: Mapping[str, Tensor], ctx: Context) -> tuple[Tensor, Tensor]:
    """The keys and values (n, d_kv), trained directly or made by the network."""
    if not params.network:
        return tensors["prefix.keys"], tensors["prefix.values"]
    hidden = torch.tanh(linear(tensors["prefix.embedding"], tensors["prefix.down"]))
    keys, values = linear(hidden, tensors["prefix.up"]).chunk(2, dim=-1)
    return keys, values


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Table 4 of the paper: a correction of the chosen form, made of x (parallel) or y (sequential).

    Where it lies between two sites, the first leaves the hidden layer for the second.
    """
    cast = {name: tensor.to(x.dtype) for name, tensor in tensors.items()}
    if "down.weight" in cast:
        source = x if params.insertion == "parallel" else y
        hidden = linear(source, cast["down.weight"], cast.get("down.bias"))
        ctx.memory[site.layer] = relu(hidden) if params.form == "relu" else hidden
    if "up.weight" not in cast:
        return y
    scale = cast.get("scale", params.scale)
    return y + scale * linear(ctx.memory[site.layer], cast["up.weight"], cast.get("up.bias"))
