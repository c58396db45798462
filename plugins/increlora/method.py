"""IncreLoRA's mathematics: components join the update of the matrices where the loss would change most."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from studio_plugins.increlora.params import Params
from torch import Tensor

from studio.api import Place, Site, Step

RESERVED = 1e-5  # what a reserve component is multiplied by, so that it is there without being felt


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + dW; during training, the size of dW times its gradient is added to what the matrix has seen."""
    change = (tensors["B"] * tensors["E"]) @ tensors["A"] * _scale(params, tensors)
    if change.requires_grad:
        change.register_hook(partial(_see, tensors["seen"], change.detach()))
    return weight + change, bias


def _see(seen: Tensor, change: Tensor, gradient: Tensor) -> None:
    seen.add_((change * gradient).abs().sum())


def lora_factors(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, float]:
    """The components in use."""
    rank = int(tensors["rank"])
    a, e, b = tensors["A"][:rank], tensors["E"][:rank], tensors["B"][:, :rank]
    return a * e.unsqueeze(-1), b, float(_scale(params, tensors))


def extra_loss(params: Params, places: Sequence[Place], step: Step) -> Tensor:
    """The mean of ||AA' - I|| and ||B'B - I|| over the blocks of components that joined together."""
    full = _is_full(params, places)
    terms = []
    for tensors, _ in _matrices(places):
        size = _used(params, tensors, full)
        for start, end in pairwise([0, *range(1, size, _added(params)), size]):
            eye = torch.eye(end - start, device=tensors["A"].device)
            for block in (tensors["A"][start:end], tensors["B"][:, start:end].mT):
                terms.append(torch.linalg.matrix_norm(block @ block.mT - eye))
    return params.orthogonality * torch.stack(terms).mean()


def on_step(params: Params, places: Sequence[Place], step: Step) -> None:
    """Update the importance, let the most important matrices grow, and hold back what is not yet in full use."""
    full = _is_full(params, places)
    if not full:
        for tensors, site in _matrices(places):
            _watch(params, tensors, site)
    if not full and step.step in growth_steps(params, places, step.steps):
        _grow(params, places, step.step)
        full = _is_full(params, places)
    warmup = max(1, round(params.first * step.steps))
    for tensors, _ in _matrices(places):
        _hold(params, tensors, step.step, warmup, full)


def metrics(params: Params, places: Sequence[Place]) -> Mapping[str, float]:
    """The average rank in use."""
    ranks = [float(tensors["rank"]) for tensors, _ in _matrices(places)]
    return {"rank": sum(ranks) / len(ranks)}


def growth_steps(params: Params, places: Sequence[Place], steps: int) -> range:
    """The steps at which matrices grow: as many as it takes, evenly between the first and the last."""
    total = sum(place.site.copies for place in places)
    events = -(-(params.rank - 1) * total // (_added(params) * min(params.matrices, total)))
    first, last = round(params.first * steps), round(params.last * steps)
    interval = max(1, (last - first) // max(1, events))
    return range(first + interval, steps, interval)


def _added(params: Params) -> int:
    """Components that a matrix gets at a time: 1, 2, 3, 4 for average ranks 2, 4, 6, 8."""
    return max(1, params.rank // 2)


def _scale(params: Params, tensors: Mapping[str, Tensor]) -> Tensor | float:
    return params.alpha / (tensors["rank"] if params.scale == "current" else params.rank)


def _used(params: Params, tensors: Mapping[str, Tensor], full: bool) -> int:
    """Components in use and, until all rank is handed out, in reserve."""
    rank = int(tensors["rank"])
    return rank if full else min(rank + _added(params), tensors["E"].numel())


def _left(params: Params, places: Sequence[Place]) -> int:
    """Components still to hand out."""
    ranks = [int(tensors["rank"]) for tensors, _ in _matrices(places)]
    return params.rank * len(ranks) - sum(ranks)


def _is_full(params: Params, places: Sequence[Place]) -> bool:
    return _left(params, places) <= 0


def _watch(params: Params, tensors: Mapping[str, Tensor], site: Site) -> None:
    """Smoothed importance and uncertainty of a matrix."""
    mean, spread, seen = tensors["mean"], tensors["spread"], tensors["seen"]
    now = seen.nan_to_num(0, 0, 0) / (site.d_in * site.d_out) ** 0.5  # fp16 steps that overflow count as nothing
    mean.lerp_(now, 1 - params.smoothing)
    spread.lerp_((now - mean).abs(), 1 - params.smoothing)
    seen.zero_()


def _grow(params: Params, places: Sequence[Place], step: int) -> None:
    """The reserve of the matrices that score highest comes into use, as far as rank is left."""
    left = _left(params, places)
    open_ = [t for t, _ in _matrices(places) if int(t["rank"]) < t["E"].numel()]
    for tensors in sorted(open_, key=lambda t: -float(t["mean"] * t["spread"]))[: params.matrices]:
        rank = int(tensors["rank"])
        size = min(rank + _added(params), rank + left, tensors["E"].numel())
        tensors["born"][rank:size] = step
        tensors["rank"].fill_(size)
        left -= size - rank


def _hold(params: Params, tensors: Mapping[str, Tensor], step: int, warmup: int, full: bool) -> None:
    """New components learn E slowly at first; those in reserve have it tiny, the others zero."""
    e, last, rank = tensors["E"], tensors["E_last"], int(tensors["rank"])
    born = tensors["born"]
    pace = torch.where(born > 0, ((step - born) / warmup).clamp(max=1.0), 1.0)
    e.copy_(torch.lerp(last, e, pace))
    e[rank:] = 0
    e[rank : _used(params, tensors, full)] = RESERVED
    last.copy_(e)


def _matrices(places: Sequence[Place]) -> Iterator[tuple[Mapping[str, Tensor], Site]]:
    """Every matrix on its own, also where a site has several copies."""
    for place in places:
        for i in range(place.site.copies):
            alone = place.site.copies == 1
            yield {name: t if alone else t[i] for name, t in place.tensors.items()}, place.site
