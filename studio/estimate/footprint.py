"""What the declared tensors of a run cost, whatever the method: counts, kept activations, backward depth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studio.api import ParamDecl, Site
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
    """What the sites of one layer keep per token and what they cast, in scalars.

    ``keeps_middle``: the input of the feed-forward's second map is among what is kept.
    """

    kept: int
    cast: int
    keeps_middle: bool


@dataclass(frozen=True)
class Footprint:
    """The declared tensors of a run, summed.

    ``trainable`` counts shared tensors once; ``base`` of them are base tensors trained in place.
    ``matrices`` and ``base_matrices`` count the weights of added and of base maps per use, for the work they
    make. ``lowest`` is where the backward pass ends: nothing below it is kept.
    """

    trainable: int
    base: int
    matrices: int
    base_matrices: int
    sites: int
    lowest: Position
    layers: Mapping[int | None, LayerUse]

    def use_of(self, layer: int | None) -> LayerUse:
        return self.layers.get(layer, LayerUse(0, 0, False))


def measure_footprint(declared: Declared, family: Family) -> Footprint:
    """Sum the declarations up."""
    used = [(site, tuple(decls)) for site, decls in declared if decls]
    counts = {_key(site, decl): decl for site, decls in used for decl in decls}
    maps = [decl for site, decls in used for decl in decls if _needs_input(decl, site)]
    lowest = min((position_of(site, family) for site, _ in used), default=TOP)
    by_layer: dict[int | None, list[tuple[Site, tuple[ParamDecl, ...]]]] = {}
    for site, decls in used:
        by_layer.setdefault(site.layer, []).append((site, decls))
    return Footprint(
        trainable=sum(decl.count for decl in counts.values()),
        base=sum(decl.count for decl in counts.values() if decl.base),
        matrices=sum(decl.count for decl in maps if decl.base is None),
        base_matrices=sum(decl.count for decl in maps if decl.base),
        sites=sum(1 for _, decls in used if any(decl.base is None for decl in decls)),
        lowest=lowest,
        layers={layer: _use(layer, sites, lowest, family) for layer, sites in by_layer.items()},
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
    family: Family,
) -> LayerUse:
    inputs: dict[object, int] = {}
    own = 0
    for site, decls in sites:
        own += _bottlenecks(decls) + sum(_kept_at(decl, site, family) for decl in decls)
        if layer is not None and any(_needs_input(decl, site) for decl in decls):
            group = _input_group(site, family)
            kept_already = group == ATTENTION_OUT and lowest < (layer, ATTENTION_OUT) and not family.output_copied
            inputs[group] = 0 if kept_already else site.d_in
    cast = sum(decl.count for _, decls in sites for decl in decls if decl.base is None)
    return LayerUse(own + sum(inputs.values()), cast, MLP_MIDDLE in inputs)


def _needs_input(decl: ParamDecl, site: Site) -> bool:
    """Whether a tensor's gradient needs the site's input: that of a matrix does, a bias or scale does not."""
    return len(decl.shape) > 1 and site.kind != "embedding"


def _input_group(site: Site, family: Family) -> object:
    """Sites that read the same tensor keep it once: q, k and v; gate and up."""
    stages = POST_NORM_STAGES if family.post_norm else PRE_NORM_STAGES
    stage = stages.get(site.role)
    shared = stage in (ATTENTION_IN, ATTENTION_OUT, MLP_IN, MLP_MIDDLE) and site.kind in ("linear", "conv")
    return float(stage) if shared and stage is not None else site.path


def _bottlenecks(decls: Sequence[ParamDecl]) -> int:
    """Scalars per token between a method's matrices: each keeps its input, and the first one's is the site's."""
    widths = sorted(min(decl.shape) for decl in decls if decl.base is None and len(decl.shape) > 1)
    return sum(widths[:-1])


def _kept_at(decl: ParamDecl, site: Site, family: Family) -> int:
    """Scalars per token that a vector keeps: what it scales. A bias keeps nothing."""
    if decl.base:
        return site.d_in if site.kind == "norm" and decl.base == "weight" and family.norm == "rms" else 0
    return decl.count if len(decl.shape) == 1 and decl.init == "ones" else 0
