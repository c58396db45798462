"""Parallel adapters: a bottleneck beside every feed-forward."""

from collections.abc import Mapping, Sequence

from studio.api import ParamDecl, Site, Traits, largest, ui
from studio.api import Params as BaseParams

FIRST = ("up", "gate_up", "fc1")
LAST = ("down", "fc2")


class Params(BaseParams):
    """Width of the bottleneck."""

    bottleneck: int = ui(512, lo=1, hi=4096, label="Bottleneck", help="Width of the adapter's hidden layer.")


traits = Traits(
    kinds=("ffn", "linear"),
    where="kind == ffn or role in (up, gate_up, fc1, down, fc2)",
    learning_rate=2e-4,
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """The adapter at each feed-forward; where that is no module, its halves at the first and the last map."""
    ffns = {site.layer: site for site in sites if site.kind == "ffn"}
    first = {site.layer: site for site in sites if site.role in FIRST and site.layer not in ffns}
    last = {site.layer: site for site in sites if site.role in LAST and site.layer in first}
    declared = {site.path: (*_down(params, site), *_up(params, site)) for site in ffns.values()}
    for layer, site in last.items():
        declared |= {first[layer].path: _down(params, first[layer]), site.path: _up(params, site)}
    return declared


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The widest bottleneck within the budget."""

    def make(size: int) -> Params:
        return params.model_copy(update={"bottleneck": size})

    def count(sized: Params) -> int:
        return sum(decl.count for decls in declare_over(sized, sites).values() for decl in decls)

    return largest(make, count, budget, most=4096)


def _down(params: Params, site: Site) -> tuple[ParamDecl, ...]:
    size = params.bottleneck
    return ParamDecl("down.weight", (size, site.d_in), init="kaiming"), ParamDecl("down.bias", (size,), decay=False)


def _up(params: Params, site: Site) -> tuple[ParamDecl, ...]:
    size, width = params.bottleneck, site.d_out
    return ParamDecl("up.weight", (width, size)), ParamDecl("up.bias", (width,), decay=False)
