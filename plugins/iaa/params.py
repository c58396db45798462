"""IAA: adapters inside every block, and aside modules that join all trainable modules into one path."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, largest, ui
from studio.api import Params as BaseParams

_ATTENTION = ("q", "qkv"), ("o",)
_FFN = ("up", "gate_up", "fc1"), ("down", "fc2")


class Params(BaseParams):
    """Width of all modules and what the aside ones go around."""

    bottleneck: int = ui(16, lo=1, hi=4096, label="Bottleneck", help="Width of every module's hidden layer.")
    aside: Literal["layer", "attention", "ffn"] = ui(
        "layer", label="Aside of", help="What the connecting modules go around: whole layers or one of their parts."
    )


traits = Traits(
    kinds=("block", "ffn", "linear"),
    where="kind in (block, ffn) or role in (q, qkv, o, up, gate_up, fc1, down, fc2)",
    learning_rate=1e-3,
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """Inner adapters after the last maps, and the aside modules, whole or in halves at the two ends they join."""
    own = [site for site in sites if "EncDecAttention" not in site.path and "encoder_attn" not in site.path]
    declared: dict[str, tuple[ParamDecl, ...]] = {}
    for site in own:
        if site.role in ("o", "down", "fc2"):
            inner = *_down("inner", params, site.d_out), *_up("inner", params, site.d_out)
            declared[site.path] = inner
    for first, last in _ends(params, own):
        declared[first.path] = (*declared.get(first.path, ()), *_down("aside", params, first.d_in))
        declared[last.path] = (*declared.get(last.path, ()), *_up("aside", params, last.d_out))
    return declared


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The widest modules within the budget."""

    def make(size: int) -> Params:
        return params.model_copy(update={"bottleneck": size})

    def count(sized: Params) -> int:
        return sum(decl.count for decls in declare_over(sized, sites).values() for decl in decls)

    return largest(make, count, budget, most=4096)


def _ends(params: Params, sites: Sequence[Site]) -> Iterator[tuple[Site, Site]]:
    """Where each aside module reads and where it adds."""
    kind = {"layer": "block", "attention": None, "ffn": "ffn"}[params.aside]
    whole = {site.layer: site for site in sites if site.kind == kind}
    yield from zip(whole.values(), whole.values(), strict=True)
    if params.aside != "layer":
        firsts, lasts = _ATTENTION if params.aside == "attention" else _FFN
        first = {site.layer: site for site in sites if site.role in firsts and site.layer not in whole}
        yield from ((first[site.layer], site) for site in sites if site.role in lasts and site.layer in first)


def _down(name: str, params: Params, width: int) -> tuple[ParamDecl, ...]:
    size = params.bottleneck
    weight = ParamDecl(f"{name}.down.weight", (size, width), init="kaiming")
    return weight, ParamDecl(f"{name}.down.bias", (size,), decay=False)


def _up(name: str, params: Params, width: int) -> tuple[ParamDecl, ...]:
    weight = ParamDecl(f"{name}.up.weight", (width, params.bottleneck))
    return weight, ParamDecl(f"{name}.up.bias", (width,), decay=False)
