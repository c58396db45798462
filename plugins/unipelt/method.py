"""UniPELT: y + g * scale * B A x, gated keys and values, y + g * up(relu(down(y)))."""

from collections.abc import Mapping

import torch
from studio_plugins.unipelt.params import Params
from torch import Tensor
from torch.nn.functional import linear, relu

from studio.api import Context, Site


def prefix(params: Params, site: Site, tensors: Mapping[str, Tensor], ctx: Context) -> tuple[Tensor, Tensor, Tensor]:
    """The keys and values (n, d_kv), and for each query the gate of what its attention reads."""
    return tensors["keys"], tensors["values"], ctx.memory[site.path]


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Section 3: LoRA where its factors are, an adapter where its projections are; a prefix's gate is remembered."""
    cast = {name: tensor.to(x.dtype) for name, tensor in tensors.items()}
    if "prefix.gate" in cast:
        ctx.memory[site.path.rpartition(".")[0]] = _gate(cast["prefix.gate"], x)
    if "A" in cast:
        change = linear(linear(x, cast["A"]), cast["B"]) * (params.alpha / params.rank)
        return y + _gate(cast["lora.gate"], x).unsqueeze(-1) * change
    if "up.weight" in cast:
        hidden = relu(linear(y, cast["down.weight"], cast["down.bias"]))
        change = linear(hidden, cast["up.weight"], cast["up.bias"])
        return y + _gate(cast["adapter.gate"], y).unsqueeze(-1) * change
    return y


def _gate(gate: Tensor, x: Tensor) -> Tensor:
    """How much of a part passes (B, S), between 0 and 1."""
    return torch.sigmoid(linear(x, gate[:-1], gate[-1]))
