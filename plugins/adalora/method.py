"""AdaLoRA's mathematics: an SVD-shaped update whose least important triplets are pruned during training."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.adalora.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, LowRank, Place, Site, Step

TRAINED = ("A", "E", "B")


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Equation 3, the factors cast to the input's precision."""
    a, b, scale = lora_factors(params, site, tensors)
    return y + linear(linear(x, a.to(x.dtype)), b.to(x.dtype)) * scale


def low_rank(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> LowRank:
    """lambda goes into Q."""
    return LowRank(*lora_factors(params, site, tensors))


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + scale * P diag(lambda) Q."""
    a, b, scale = lora_factors(params, site, tensors)
    return weight + scale * (b @ a), bias


def lora_factors(params: Params, site: Site, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, float]:
    """lambda goes into Q."""
    return tensors["A"] * tensors["E"].unsqueeze(-1), tensors["B"], params.alpha / params.rank


def extra_loss(params: Params, places: Sequence[Place], step: Step) -> Tensor:
    """The regulariser of equation 4, ||P'P - I|| and ||QQ' - I||, as its mean over the matrices."""
    grams = [gram for p in places for gram in (p.tensors["A"] @ p.tensors["A"].mT, p.tensors["B"].mT @ p.tensors["B"])]
    eye = torch.eye(params.rank, device=grams[0].device)
    return params.orthogonality * torch.cat([torch.linalg.matrix_norm(gram - eye).flatten() for gram in grams]).mean()


def on_step(params: Params, places: Sequence[Place], step: Step) -> None:
    """Update the importance, and keep the most important triplets of all matrices; the last pattern stays."""
    final = step.steps - round(params.settle * step.steps)
    if step.step < final:
        _watch(params, places)
    if step.step == final or (step.step < final and step.step % params.interval == 0):
        _prune(places, budget(params, sum(p.tensors["E"].numel() for p in places), step.step, step.steps))
    elif step.step > final:
        for place in places:
            place.tensors["E"].mul_(place.tensors["kept"])


def metrics(params: Params, places: Sequence[Place]) -> Mapping[str, float]:
    """How many triplets are kept, over all matrices."""
    return {"triplets": sum(float(place.tensors["kept"].sum()) for place in places)}


def budget(params: Params, total: int, step: int, steps: int) -> int:
    """How many of ``total`` triplets are kept at a step: a cubic schedule (equation 12)."""
    target = total // params.rank * params.target
    start, final = round(params.warmup * steps), steps - round(params.settle * steps)
    if step >= final:
        return target
    if step <= start:
        return total
    return int(target + (total - target) * (1 - (step - start) / (final - start)) ** 3)


def _watch(params: Params, places: Sequence[Place]) -> None:
    """Smoothed sensitivity and uncertainty of every element (equations 8 to 10)."""
    for place in places:
        for name in TRAINED:
            tensor, mean, spread = (place.tensors[key] for key in (name, f"{name}_mean", f"{name}_spread"))
            if tensor.grad is None:
                continue
            now = (tensor * tensor.grad).abs().nan_to_num(0, 0, 0)  # fp16 steps that overflow count as nothing
            mean.lerp_(now, 1 - params.smoothing)
            spread.lerp_((now - mean).abs(), 1 - params.smoothing)


def _prune(places: Sequence[Place], keep: int) -> None:
    """Zero lambda of all but the ``keep`` triplets that score highest over all matrices."""
    scores = [_scores(place.tensors) for place in places]
    every = torch.cat([score.flatten() for score in scores])
    kept = torch.zeros_like(every, dtype=torch.bool)
    kept[every.topk(keep).indices] = True
    for place, score, mask in zip(places, scores, kept.split([score.numel() for score in scores]), strict=True):
        place.tensors["kept"].copy_(mask.view_as(score))
        place.tensors["E"].mul_(place.tensors["kept"])


def _scores(tensors: Mapping[str, Tensor]) -> Tensor:
    """Importance of each triplet: that of lambda plus the means over its two vectors (equation 7)."""
    a, e, b = (tensors[f"{name}_mean"] * tensors[f"{name}_spread"] for name in TRAINED)
    return e + a.mean(-1) + b.mean(-2)
