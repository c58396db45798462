"""DSEE's mathematics: W + s * (B A + S), with entries of W masked away once the update is known."""

from collections.abc import Callable, Mapping, Sequence

import torch
from studio_plugins.dsee.params import UPDATED, Params
from torch import Generator, Tensor

from studio.api import Place, Setup, Site, Step

SMALL = 0.01  # what the sparse part of the decomposition leaves to the low-rank part
ROUNDS, GROWTH = 100, 5


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Choose the entries of the sparse part."""
    for place in places:
        if "index" not in place.tensors:
            continue
        index = place.tensors["index"]
        size = place.site.d_out * place.site.d_in
        scores = _scores(params, place.weight(), ctx.generator).reshape(*index.shape[:-1], size)
        index.copy_(scores.topk(index.shape[-1]).indices.sort().values)


def _scores(params: Params, weight: Tensor, generator: Generator) -> Tensor:
    if params.pick == "random":
        return torch.rand(weight.shape, generator=generator).to(weight.device)
    if params.pick == "magnitude":
        return weight.abs()
    matrices = weight.reshape(-1, *weight.shape[-2:])
    return torch.stack([left_over(matrix, generator).abs() for matrix in matrices]).view_as(weight)


def left_over(weight: Tensor, generator: Generator) -> Tensor:
    """The sparse part R of a greedy decomposition W = U V + R; (d_out, d_in) in and out."""
    v = torch.randn(1, weight.shape[1], generator=generator).to(weight.device)
    sparse = torch.zeros_like(weight)
    for _ in range(ROUNDS):
        for _ in range(2):
            u = torch.linalg.qr((weight - sparse) @ v.mT)[0]
            v = u.mT @ (weight - sparse)
            sparse = weight - u @ v
            sparse[sparse.abs() < SMALL] = 0
        left = weight - u @ v - sparse
        if len(v) + GROWTH > min(weight.shape) or left.norm() < 1e-3 * weight.norm():
            break
        v = torch.cat([v, torch.linalg.qr(left)[1][:GROWTH]])
    return sparse


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The mask applies to W alone; the update stays as it is."""
    kept = weight * tensors["kept"] if "kept" in tensors else weight
    return (kept + _update(params, tensors) if "A" in tensors else kept), bias


def _update(params: Params, tensors: Mapping[str, Tensor]) -> Tensor:
    update = tensors["B"] @ tensors["A"]
    if "values" in tensors:
        flat = update.flatten(-2)
        update = flat.scatter_add(-1, tensors["index"], tensors["values"]).view_as(update)
    return params.alpha / params.rank * update


def on_step(params: Params, places: Sequence[Place], step: Step) -> None:
    """Prune the base once, in two pools: the updated matrices, and the rest by the size of their weights."""
    if not params.prune or step.step != max(1, round(params.prune_at * step.steps)):
        return
    for updated in (True, False):
        pool = [place for place in places if (place.site.role in UPDATED) == updated]
        importance = [_importance(params, place) for place in pool]
        cut = int(params.prune * sum(place.tensors["kept"].numel() for place in pool))
        threshold = _smallest(importance, cut)
        for place, score in zip(pool, importance, strict=True):
            place.tensors["kept"].copy_(_bits(score()) > threshold)


def _importance(params: Params, place: Place) -> Callable[[], Tensor]:
    """How much every entry of a weight counts, formed when asked for, so that one matrix is held at a time."""

    def measure() -> Tensor:
        weight = place.weight()
        if params.importance == "random":
            seed = sum(place.site.path.encode())
            return torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)).to(weight.device)
        if place.site.role not in UPDATED or params.importance == "weight":
            return weight.abs()
        update = _update(params, place.tensors)
        return update.abs() if params.importance == "delta" else (weight + update).abs()

    return measure


def _smallest(scores: Sequence[Callable[[], Tensor]], count: int) -> int:
    """The largest of the ``count`` smallest scores, as bits, by halving; -1 if count is 0."""
    low, high = -1, 0x7F800000
    while low < high:
        middle = (low + high) // 2
        if sum(int((_bits(score()) <= middle).sum()) for score in scores) >= count:
            high = middle
        else:
            low = middle + 1
    return high


def _bits(score: Tensor) -> Tensor:
    """Floats that are not negative, as integers in the same order."""
    return score.contiguous().view(torch.int32)
