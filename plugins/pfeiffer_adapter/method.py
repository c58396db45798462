"""Pfeiffer adapters: y' = y + up(act(down(y)))."""

from collections.abc import Mapping

from studio_plugins.pfeiffer_adapter.params import Params
from torch import Tensor
from torch.nn import functional

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """The bottleneck with its skip connection, on what the feed-forward puts out (appendix A of the paper)."""
    cast = {name: tensor.to(y.dtype) for name, tensor in tensors.items()}
    low = functional.linear(y, cast["down.weight"], cast["down.bias"])
    hidden = getattr(functional, params.activation)(low)
    return y + functional.linear(hidden, cast["up.weight"], cast["up.bias"])
