"""What the declared tensors of a run cost, whatever the method: counts, kept activations, backward depth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studio.api import ParamDecl, Site
from studio.core.facts import ModelFacts
from studio.estimate.families import Family

Position = tuple[float, float]  # layer, stage within it; the order of the forward pass
Declared = Sequence[tuple[Site, Sequence[ParamDecl]]]

BOTTOM: Position = (-1.0, 0.0)
TOP: Position = (math.inf, 0.0)

PRE_NORM_STAGES = {
    "norm1": 0, "q": 1, "k": 1, "v": 1, "qkv": 1, "attention": 1, "q_norm": 1.1, "k_norm": 1.1, "o": 2,
    "norm1_post": 2.5, "norm2": 3, "gate": 4, "up": 4, "gate_up": 4, "fc1": 4, "down": 5, "fc2": 5,
    "norm2_post": 5.5, "block": 6,
}  # fmt: skip
POST_NORM_STAGES = {**PRE_NORM_STAGES, "norm1": 3, "norm2": 6}
AT_TOP = frozenset({"norm", "head", "head_proj", "pooler"})
ATTENTION_IN, ATTENTION_OUT, MLP_IN, MLP_MIDDLE = 1.0, 2.0, 4.0, 5.0


@dataclass(frozen=True)
class LayerUse:
    """What the sites of one layer keep per token, in scalars, and the sizes of the tensors they cast."""

    kept: int
    cast: int


@dataclass(frozen=True)
class Footprint:
    """The declared tensors of a run, summed.

    ``trainable`` counts shared tensors once; ``base`` of them are base tensors trained in place.
    ``matrices`` counts the weights of trained maps per use, for the work of their gradients. ``lowest`` is
    where the backward pass ends: nothing below it is kept.
    """

    trainable: int
    base: int
    matrices: int
    sites: int
    lowest: Position
    layers: Mapping[int | None, LayerUse]

    def use_of(self, layer: int | None) -> LayerUse:
        return self.layers.get(layer, LayerUse(0, 0))


def measure_footprint(declared: Declared, model: ModelFacts, family: Family) -> Footprint:
    """Sum the declarations up."""
    used = [(site, tuple(decls)) for site, decls in declared if decls]
    counts = {_key(site, decl): decl for site, decls in used for decl in decls}
    lowest = min((position_of(site, family) for site, _ in used), default=TOP)
    by_layer: dict[int | None, list[tuple[Site, tuple[ParamDecl, ...]]]] = {}
    for site, decls in used:
        by_layer.setdefault(site.layer, []).append((site, decls))
    return Footprint(
        trainable=sum(decl.count for decl in counts.values()),
        base=sum(decl.count for decl in counts.values() if decl.base),
        matrices=sum(decl.count for _, decls in used for decl in decls if len(decl.shape) > 1),
        sites=sum(1 for _, decls in used if any(decl.base is None for decl in decls)),
        lowest=lowest,
        layers={layer: _use(layer, sites, lowest, model, family) for layer, sites in by_layer.items()},
    )


def position_of(site: Site, family: Family) -> Position:
    """Where a site lies in the forward pass; one that nobody knows counts as the layer's first."""
    if site.layer is None:
        return TOP if site.role in AT_TOP else BOTTOM
    stages = POST_NORM_STAGES if family.post_norm else PRE_NORM_STAGES
    return float(site.layer), float(stages.get(site.role, 0))


def _key(site: Site, decl: ParamDecl) -> tuple[str, str]:
    place = decl.share or site.tied_to or site.path if decl.base else decl.share or site.path
    return place, decl.base or decl.name


def _use(
    layer: int | None,
    sites: Sequence[tuple[Site, tuple[ParamDecl, ...]]],
    lowest: Position,
    model: ModelFacts,
    family: Family,
) -> LayerUse:
    inputs: dict[object, int] = {}
    own = 0
    for site, decls in sites:
        own += sum(_kept_at(decl, site, family) for decl in decls)
        if layer is not None and any(_needs_input(decl, site) for decl in decls):
            group = _input_group(site, family)
            inputs[group] = 0 if group == ATTENTION_OUT and lowest < (layer, ATTENTION_OUT) else site.d_in
    cast = sum(decl.count for _, decls in sites for decl in decls if decl.base is None)
    return LayerUse(own + sum(inputs.values()), cast)


def _needs_input(decl: ParamDecl, site: Site) -> bool:
    """Whether a tensor's gradient needs the site's input: that of a matrix does, a bias or scale does not."""
    return len(decl.shape) > 1 and site.kind != "embedding"


def _input_group(site: Site, family: Family) -> object:
    """Sites that read the same tensor keep it once: q, k and v; gate and up."""
    stages = POST_NORM_STAGES if family.post_norm else PRE_NORM_STAGES
    stage = stages.get(site.role)
    shared = stage in (ATTENTION_IN, ATTENTION_OUT, MLP_IN, MLP_MIDDLE) and site.kind in ("linear", "conv")
    return float(stage) if shared and stage is not None else site.path


def _kept_at(decl: ParamDecl, site: Site, family: Family) -> int:
    """Scalars per token that a tensor keeps besides the input: bottleneck, scaled output, normalised input."""
    if decl.base:
        return site.d_in if site.kind == "norm" and decl.base == "weight" and family.norm == "rms" else 0
    if len(decl.shape) > 1:
        return min(decl.shape)
    return decl.count if decl.init == "ones" else 0  # a scale keeps what it scales, a bias nothing
