"""HiRA's mathematics: the update is the weight times a low-rank product, entry by entry."""

from collections.abc import Mapping

from studio_plugins.hira.params import Params
from torch import Tensor

from studio.api import Site


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + W * (B A)."""
    return weight + weight * (tensors["B"] @ tensors["A"]).view_as(weight), bias
