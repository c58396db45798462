"""APET's mathematics: what was drawn at a site, in the order LoRA pair, single weights, adapter."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.apet.params import Params
from torch import Tensor
from torch.nn.functional import gelu, linear

from studio.api import Context, Place, Setup, Site

SCALE = 2.0  # alpha / r of the LoRA pairs, at any rank


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Draw the single weights that fill the budget."""
    for place in places:
        if "index" in place.tensors:
            index, size = place.tensors["index"], place.site.d_in * place.site.d_out
            index.copy_(torch.randperm(size, generator=ctx.generator)[: len(index)].sort().values)


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """The site's output with all that was drawn there; what was not drawn is not computed."""
    own = {name: tensor.to(x.dtype) for name, tensor in tensors.items() if tensor.is_floating_point()}
    if "A" in own:
        y = y + SCALE * linear(linear(x, own["A"]), own["B"])
    if "values" in own:
        change = torch.zeros(site.d_out * site.d_in, dtype=x.dtype, device=x.device)
        y = y + linear(x, change.index_add(0, tensors["index"], own["values"]).view(site.d_out, site.d_in))
    if "up.weight" in own:
        inner = gelu(linear(y, own["down.weight"], own["down.bias"]))
        y = y + linear(inner, own["up.weight"], own["up.bias"])
    return y


def prompt(params: Params, site: Site, tensors: Mapping[str, Tensor], ctx: Context) -> Tensor:
    """The virtual tokens (n, d)."""
    return tensors["tokens"]
