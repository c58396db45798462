"""LoHa's mathematics: the update is the Hadamard product of two low-rank products."""

from collections.abc import Mapping

from studio_plugins.loha.params import Params
from torch import Tensor

from studio.api import Site


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + scale * (B1 A1) * (B2 A2) (proposition 1)."""
    change = (tensors["B1"] @ tensors["A1"]) * (tensors["B2"] @ tensors["A2"])
    return weight + params.alpha / params.rank * change.view_as(weight), bias
