"""What the declared tensors of a run cost, whatever the method: counts, kept activations, backward depth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from studio.api import ParamDecl, Site
from studio.api.sites import Kept
from studio.estimate.families import Family

Position = tuple[float, float]  # layer, stage within it; the order of the forward pass
Declared = Sequence[tuple[Site, Sequence[ParamDecl]]]
Edits = Mapping[str, tuple[Kept, ...]]

FP32 = 4
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
_CONSTANT = frozenset({"fixed", "seeded"})


@dataclass(frozen=True)
class LayerUse:
    """What the sites of one layer keep, in scalars.

    Per token: ``inputs`` of sites by who reads them, and ``kept`` besides. Once: ``cast`` tensors of the methods,
    ``edited`` weights, of those the ``given`` ones, and ``changes`` to them. ``trained`` scalars have gradients.
    """

    kept: int = 0
    inputs: tuple[tuple[object, int], ...] = ()
    cast: int = 0
    edited: int = 0
    given: int = 0
    changes: int = 0
    trained: int = 0

    def bytes_once(self, width: int) -> int:
        """Bytes of tensors without tokens, in a compute precision of so many bytes; fp32 tensors need no cast."""
        casts = 0 if width == FP32 else self.cast * width + self.given * FP32
        return self.edited * width + self.changes * FP32 + casts


@dataclass(frozen=True)
class Footprint:
    """The declared tensors of a run, summed.

    ``trainable`` counts shared tensors once; ``base`` of them are base tensors trained in place, ``top`` and
    ``bottom`` lie behind and before the layers. ``matrices`` and ``base_matrices`` count the weights of added and of
    base maps per use, for the work they make. ``lowest`` is where the backward pass ends: nothing below it is kept.
    ``side`` are the scalars per token that the method's own tensors keep if they are a network beside the model: what
    each matrix reads and makes, and what each vector changes.
    """

    trainable: int
    base: int
    top: int
    bottom: int
    matrices: int
    base_matrices: int
    sites: int
    lowest: Position
    side: int
    layers: Mapping[int | None, LayerUse]

    @property
    def keeps_middle(self) -> bool:
        """Whether the input of the feed-forward's second map is kept somewhere."""
        return any(reader == MLP_MIDDLE for use in self.layers.values() for reader, _ in use.inputs)

    def use_of(self, layer: int | None) -> LayerUse:
        return self.layers.get(layer, LayerUse())


def measure_footprint(declared: Declared, family: Family, edits: Edits = MappingProxyType({})) -> Footprint:
    """Sum the declarations up; ``edits`` as in ``EstimateInputs``."""
    used = [(site, tuple(decls)) for site, decls in declared if decls]
    places = [position_of(site, family) for site, _ in used]
    counts: dict[tuple[str, str], ParamDecl] = {}
    highest: dict[tuple[str, str], Position] = {}
    for (site, decls), place in zip(used, places, strict=True):
        for decl in decls:
            key = _key(site, decl)
            counts[key] = decl
            highest[key] = max(highest.get(key, BOTTOM), place)
    maps = [decl for site, decls in used for decl in decls if _needs_input(decl, site)]
    by_layer: dict[int | None, list[tuple[Site, tuple[ParamDecl, ...]]]] = {}
    for site, decls in used:
        by_layer.setdefault(site.layer, []).append((site, decls))
    return Footprint(
        trainable=sum(decl.count for decl in counts.values()),
        base=sum(decl.count for decl in counts.values() if decl.base),
        top=sum(decl.count for key, decl in counts.items() if highest[key] == TOP),
        bottom=sum(decl.count for key, decl in counts.items() if highest[key] == BOTTOM),
        matrices=sum(decl.count for decl in maps if decl.base is None),
        base_matrices=sum(decl.count for decl in maps if decl.base),
        sites=sum(1 for _, decls in used if any(decl.base is None for decl in decls)),
        lowest=min(places, default=TOP),
        side=sum(sum(decl.shape) for _, decls in used for decl in decls if decl.base is None and decl.count),
        layers={layer: _use(layer, sites, family, edits) for layer, sites in by_layer.items()},
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
    layer: int | None, sites: Sequence[tuple[Site, tuple[ParamDecl, ...]]], family: Family, edits: Edits
) -> LayerUse:
    plain = [(site, decls) for site, decls in sites if site.path not in edits]
    changed = [(math.prod(site.shape), edits[site.path]) for site, _ in sites if site.path in edits]
    readers: dict[object, int] = {}
    if layer is not None:
        reading = [site for site, decls in sites if site.path in edits or _reads_input(decls, site)]
        readers = {_input_group(site, family): site.d_in for site in reading}
    return LayerUse(
        kept=sum(_kept(site, decls) for site, decls in plain),
        inputs=tuple(readers.items()),
        cast=sum(_cast(decl, site) for site, decls in plain for decl in decls),
        edited=sum(size for size, _ in changed),
        given=sum(size * keeps.count("weight") for size, keeps in changed),
        changes=sum(size * keeps.count("change") for size, keeps in changed),
        trained=sum(decl.count for _, decls in sites for decl in decls),
    )


def _kept(site: Site, decls: Sequence[ParamDecl]) -> int:
    """Scalars per token that the tensors at a site keep, but for the site's input."""
    return _bottlenecks(decls, site) + sum(_kept_at(decl, site, decls) for decl in decls)


def _needs_input(decl: ParamDecl, site: Site) -> bool:
    """Whether a tensor's gradient needs the site's input: that of a matrix does, a bias or scale does not."""
    return len(decl.shape) > 1 and site.kind != "embedding"


def _reads_input(decls: Sequence[ParamDecl], site: Site) -> bool:
    """Whether a trained map reads the site's input, and not the output of a constant one."""
    behind = _starts_constant(decls, site)
    return any(_needs_input(decl, site) and not (behind and decl.base is None) for decl in decls)


def _starts_constant(decls: Sequence[ParamDecl], site: Site) -> bool:
    """Whether a method's own path begins with a matrix that is not trained."""
    return any(_is_constant(decl) and decl.shape[-1] >= site.d_in for decl in decls)


def _is_constant(decl: ParamDecl) -> bool:
    """Whether a tensor is a matrix that is computed with but not trained."""
    return decl.role in _CONSTANT and decl.dtype == "float32" and len(decl.shape) > 1


def _input_group(site: Site, family: Family) -> object:
    """Sites that read the same tensor keep it once: q, k and v; gate and up."""
    stages = POST_NORM_STAGES if family.post_norm else PRE_NORM_STAGES
    stage = stages.get(site.role)
    shared = stage in (ATTENTION_IN, ATTENTION_OUT, MLP_IN, MLP_MIDDLE) and site.kind in ("linear", "conv")
    return float(stage) if shared and stage is not None else site.path


def _bottlenecks(decls: Sequence[ParamDecl], site: Site) -> int:
    """Scalars per token that a method's trained matrices read, but for one that reads the site's input."""
    widths = sorted(min(decl.shape) for decl in decls if decl.base is None and len(decl.shape) > 1 and decl.count)
    return sum(widths if _starts_constant(decls, site) else widths[:-1])


def _cast(decl: ParamDecl, site: Site) -> int:
    """Scalars that are cast to the compute precision; of matrices that are not trained, what fits the site."""
    if decl.base or not _is_constant(decl):
        return 0 if decl.base else decl.count
    *rows, columns = decl.shape
    return min(math.prod(rows), site.d_out) * min(columns, site.d_in)


def _kept_at(decl: ParamDecl, site: Site, decls: Sequence[ParamDecl]) -> int:
    """Scalars per token that a vector keeps: what it scales. A bias keeps nothing.

    A vector of ones beside matrices scales what they add too; one beside matrices that are not trained scales that.
    """
    if decl.base:
        return 0
    if len(decl.shape) != 1:
        return 0
    if decl.init != "ones":
        return decl.count if any(_is_constant(other) for other in decls) else 0
    scales_both = site.kind in ("linear", "conv") and any(len(other.shape) > 1 for other in decls)
    return decl.count * (2 if scales_both else 1)
