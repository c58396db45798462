"""LoRA-XS's mathematics: a trained square matrix between the leading singular vectors of the weight."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.lora_xs.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, Place, Setup, Site


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """The leading singular triplets of the weight."""
    for place in places:
        rank = place.tensors["R"].shape[-1]
        u, s, v = torch.linalg.svd(place.weight(), full_matrices=False)
        place.tensors["US"].copy_(u[..., :rank] * s[..., None, :rank])
        place.tensors["V"].copy_(v[..., :rank, :])


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """y + scale * U S R V x, the factors cast to the input's precision."""
    low = linear(linear(x, tensors["V"].to(x.dtype)), tensors["R"].to(x.dtype))
    return y + linear(low, tensors["US"].to(x.dtype)) * (params.alpha / params.rank)


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + scale * U S R V."""
    a, b, scale = lora_factors(params, site, tensors)
    return weight + scale * (b @ a), bias


def lora_factors(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, float]:
    """R goes into V."""
    return tensors["R"] @ tensors["V"], tensors["US"], params.alpha / params.rank
