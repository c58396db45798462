"""(IA)3's mathematics: rescaled keys and values, and rescaled inner features of the feed-forward."""

from collections.abc import Mapping

from studio_plugins.ia3.params import INPUT, Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """l * y, or W (l * x) + b where the input is scaled."""
    scale = tensors["scale"].to(x.dtype)
    return linear(x * scale, ctx.weight(), ctx.bias()) if site.role in INPUT else y * scale


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Columns of W scaled, or its rows and the bias."""
    scale = tensors["scale"]
    if site.role in INPUT:
        return weight * scale, bias
    return weight * scale[:, None], None if bias is None else bias * scale
