"""LoKr's mathematics: the update is the Kronecker product of a small and a large factor."""

from collections.abc import Mapping

import torch
from studio_plugins.lokr.params import Params
from torch import Tensor

from studio.api import Site


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + scale * C kron D, with D = B A where it is of low rank."""
    large = tensors["D"] if "D" in tensors else tensors["B"] @ tensors["A"]
    change = torch.kron(tensors["C"], large).view_as(weight)
    return weight + params.alpha / params.rank * change, bias
