"""LoRA-FA's mathematics: LoRA's, where only B learns, so that only the small A x is kept for the backward pass."""

from collections.abc import Mapping

from studio_plugins.lora_fa.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, LowRank, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """y + scale * B (A x), the factors cast to the input's precision."""
    low = linear(x, tensors["A"].to(x.dtype))
    return y + linear(low, tensors["B"].to(x.dtype)) * (params.alpha / params.rank)


def low_rank(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> LowRank:
    """The factors as they are."""
    return LowRank(tensors["A"], tensors["B"], params.alpha / params.rank)


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + scale * B A."""
    return weight + params.alpha / params.rank * (tensors["B"] @ tensors["A"]), bias


def lora_factors(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, float]:
    """The factors as they are."""
    return tensors["A"], tensors["B"], params.alpha / params.rank
