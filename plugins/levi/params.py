"""LEVI: a small model over the same tokens, and adapting layers that read it and some blocks of the base."""

from collections.abc import Mapping, Sequence

from studio.api import ParamDecl, Site, Traits, largest, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size of the small model and of the adapting layers."""

    width: int = ui(128, lo=2, hi=4096, label="Small model's width", help="Features of the model trained from scratch.")
    depth: int = ui(2, lo=1, hi=12, label="Small model's blocks", help="Its number of blocks.")
    layers: int = ui(
        4, lo=1, hi=64, label="Views", help="Blocks of the base that are combined with it, evenly spaced to the last."
    )
    hidden: int = ui(256, lo=1, hi=16384, label="Adapting width", help="Features inside each adapting layer.")


traits = Traits(
    kinds=("embedding", "block"),
    where="role == embed or kind == block",
    learning_rate=1e-3,
    reads="kind == block",
    packs=False,
    families=("encoder",),
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """The small model where tokens enter, the adapting layers at the last block; nothing without either."""
    tables = [site for site in sites if site.kind == "embedding"]
    blocks = [site for site in sites if site.kind == "block"]
    if not tables or not blocks:
        return {}
    views = min(params.layers, len(blocks))
    return {tables[0].path: _small_model(params, tables[0].d_in), blocks[-1].path: _adapting(params, blocks[-1], views)}


def _small_model(params: Params, words: int) -> tuple[ParamDecl, ...]:
    e = params.width
    shapes = {"qkv": (3 * e, e), "o": (e, e), "up": (4 * e, e), "down": (e, 4 * e)}
    blocks = (
        ParamDecl(f"{block}.{name}", shape, init="kaiming")
        for block in range(params.depth)
        for name, shape in shapes.items()
    )
    return (ParamDecl("table", (words, e), init="normal:1.0", decay=False), *blocks)


def _adapting(params: Params, block: Site, views: int) -> tuple[ParamDecl, ...]:
    """Two layers per view; the second starts at zero, so the model starts unchanged."""
    return (
        ParamDecl("in.weight", (views, params.hidden, block.d_out + params.width), init="kaiming"),
        ParamDecl("in.bias", (views, params.hidden), decay=False),
        ParamDecl("out.weight", (views, block.d_out, params.hidden)),
        ParamDecl("out.bias", (views, block.d_out), decay=False),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """As wide as the budget allows; the adapting layers keep their ratio to the small model."""

    def make(width: int) -> Params:
        hidden = max(1, params.hidden * width // params.width)
        return params.model_copy(update={"width": width, "hidden": hidden})

    def count(sized: Params) -> int:
        return sum(decl.count for decls in declare_over(sized, sites).values() for decl in decls)

    return largest(make, count, budget, smallest=2, most=4096)
