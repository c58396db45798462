"""SaRA: changes scattered to the smallest weights, a nuclear norm over them, and a renewed choice half-way."""

from collections.abc import Mapping, Sequence
from random import Random

import torch
from studio_plugins.sara.params import Params
from torch import Tensor

from studio.api import Place, Setup, Site, Step

SMALLEST_SIDE = 64  # matrices with a side up to this are not regularised


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Choose the smallest entries of every weight; the largest of them is the bound."""
    for place in places:
        smallest = _flat(place, place.weight()).abs().topk(place.tensors["index"].shape[-1], largest=False)
        place.tensors["index"].copy_(smallest.indices.sort().values)
        place.tensors["bound"].copy_(smallest.values.amax(-1, keepdim=True))


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """W + the changes at their places."""
    return weight.flatten().index_add(0, tensors["index"], tensors["values"]).view_as(weight), bias


def extra_loss(params: Params, places: Sequence[Place], step: Step) -> Tensor | None:
    """The penalty times the nuclear norm of the trained entries of one matrix, which the step's number draws."""
    able = [p for p in places if p.site.kind == "linear" and min(p.site.d_in, p.site.d_out) > SMALLEST_SIDE]
    if not able or not params.penalty:
        return None
    place = Random(step.step).choice(able)
    weight = place.weight()
    alone = torch.zeros_like(_flat(place, weight)).scatter(-1, place.tensors["index"], _entries(place, weight))
    norm: Tensor = torch.linalg.matrix_norm(alone.view_as(weight), "nuc").sum()
    return norm * params.penalty


def on_step(params: Params, places: Sequence[Place], step: Step) -> None:
    """From the renewal on, entries that have outgrown the bound by then stand still."""
    renewal = max(1, round(params.renew_at * step.steps))
    for place in places if step.step >= renewal else ():
        values, still, kept = (place.tensors[name] for name in ("values", "still", "kept"))
        if step.step == renewal:
            still.copy_(_entries(place, place.weight()).abs() > place.tensors["bound"])
            kept.copy_(values)
        values.copy_(torch.where(still, kept, values))


def _entries(place: Place, weight: Tensor) -> Tensor:
    """The trained entries as they are now."""
    return _flat(place, weight).gather(-1, place.tensors["index"]) + place.tensors["values"]


def _flat(place: Place, weight: Tensor) -> Tensor:
    """The weight as one row of entries, or one for each copy of the map."""
    return weight.reshape(*place.tensors["index"].shape[:-1], -1)
