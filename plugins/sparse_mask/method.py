"""Sparse masks: the trained changes are scattered into the base weight."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.sparse_mask.params import Params
from torch import Tensor

from studio.api import Place, Setup, Site


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Choose the entries; by Fisher information as in equation 5 of arXiv 2111.09839."""
    gradients = ctx.gradients() if params.pick in ("fisher", "gradient") else {}
    for place in places:
        index = place.tensors["index"]
        weight = place.weight()
        if params.pick == "random":
            chosen = torch.randperm(weight.numel(), generator=ctx.generator)[: len(index)]
        else:
            chosen = _scores(params, place, weight, gradients).flatten().topk(len(index)).indices
        index.copy_(chosen.sort().values)


def _scores(params: Params, place: Place, weight: Tensor, gradients: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
    if params.pick in ("largest", "smallest"):
        return weight.abs() if params.pick == "largest" else -weight.abs()
    total, square = gradients[place.site.path]
    return square if params.pick == "fisher" else total.abs()


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + the changes at their places."""
    changed = weight.flatten().index_add(0, tensors["index"], tensors["values"])
    return changed.view_as(weight), bias
