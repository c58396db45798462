"""VeRA's mathematics: trained vectors scale what goes through a frozen random pair."""

from collections.abc import Mapping

from studio_plugins.vera.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Equation 2, with the part of the shared pair that the site's sizes need."""
    a, b = tensors["A"][:, : site.d_in].to(x.dtype), tensors["B"][: site.d_out].to(x.dtype)
    return y + linear(linear(x, a) * tensors["d"].to(x.dtype), b) * tensors["b"].to(x.dtype)


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + diag(b) B diag(d) A."""
    a, b, _ = lora_factors(params, site, tensors)
    return weight + b @ a, bias


def lora_factors(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, float]:
    """The vectors go into the pair."""
    a, b = tensors["A"][:, : site.d_in], tensors["B"][: site.d_out]
    return a * tensors["d"].unsqueeze(-1), b * tensors["b"].unsqueeze(-1), 1.0
