"""KIND: y + U ((sigma * m) * V x), with m one on the learngenes and the gate's share on each group of tailors."""

from collections.abc import Mapping

import torch
from studio_plugins.kind_learngene.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Two thin products with a mask between them."""
    own = {name: tensor.to(x.dtype) for name, tensor in tensors.items()}
    components = linear(x, own["V"]) * own["sigma"]
    if params.gated:
        shares = linear(x, own["gate.weight"], own["gate.bias"]).softmax(-1).repeat_interleave(params.tailors, dim=-1)
        common, tailored = components[..., : params.learngenes], components[..., params.learngenes :]
        components = torch.cat([common, tailored * shares], dim=-1)
    return y + linear(components, own["U"])
