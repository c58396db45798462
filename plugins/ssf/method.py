"""SSF: y' = scale * y + shift."""

from collections.abc import Mapping

import torch
from studio_plugins.ssf.params import Params
from torch import Tensor

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Equation 2, over the channels of y."""
    scale = _spread(tensors["scale"], site, y)
    return y * scale + _spread(tensors["shift"], site, y) if "shift" in tensors else y * scale


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Equation 4: the factor scales rows of the weight and the bias; the shift joins the bias."""
    scale = tensors["scale"]
    merged = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    if bias is None and "shift" not in tensors:
        return merged, None
    start = torch.zeros_like(scale) if bias is None else bias
    return merged, start * scale + tensors.get("shift", 0.0)


def _spread(vector: Tensor, site: Site, y: Tensor) -> Tensor:
    vector = vector.to(y.dtype)
    return vector.view(-1, *[1] * (y.dim() - 2)) if site.channel_axis == 1 else vector
