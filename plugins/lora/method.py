"""LoRA's mathematics: y + scale * B (A dropout(x))."""

from collections.abc import Mapping

from studio_plugins.lora.params import Params
from torch import Tensor
from torch.nn.functional import dropout, linear

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Equation 3 of the paper, the factors cast to the input's precision."""
    kept = dropout(x, params.dropout, ctx.training) if params.dropout else x
    low = linear(kept, tensors["A"].to(x.dtype))
    return y + linear(low, tensors["B"].to(x.dtype)) * scale(params)


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + scale * B A."""
    return weight + scale(params) * (tensors["B"] @ tensors["A"]), bias


def lora_factors(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, float]:
    """The factors as they are."""
    return tensors["A"], tensors["B"], scale(params)


def scale(params: Params) -> float:
    """alpha / r, or alpha / sqrt(r) with the rank-stabilised scale."""
    return params.alpha / (params.rank**0.5 if params.rslora else params.rank)
