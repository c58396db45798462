"""FLoRA's mathematics: the update is a Tucker product in the shape of the weight."""

from collections.abc import Mapping

from studio_plugins.flora_tucker.params import Params
from torch import Tensor

from studio.api import Site


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + s * G x1 U1 x2 U2 ... xN UN: each product turns one dimension of the core into the weight's."""
    change = tensors["G"]
    for i in range(change.dim()):
        change = (change.movedim(i, -1) @ tensors[f"U{i}"].mT).movedim(-1, i)
    return weight + params.scale * change, bias
