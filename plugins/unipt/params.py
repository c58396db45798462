"""UniPT: a parallel network on the hidden states of a base model that runs without gradients."""

from collections.abc import Mapping, Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, largest, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Width of the network and how its output meets the base model's."""

    width: int = ui(
        0, lo=0, hi=8192, label="Width", help="Width to which hidden states are projected; 0 is half the model's."
    )
    output: Literal["residual", "replace"] = ui(
        "residual",
        label="Output",
        help="Added to the base model's last state, from zero on, or put in its place.",
        advanced=True,
    )


traits = Traits(
    kinds=("model", "block", "embedding", "norm"),
    where="kind in (model, block) or role in (embed, embed_norm)",
    reads="kind == block or role in (embed, embed_norm)",
    backbone_grad=False,
    learning_rate=5e-4,
    families=("decoder", "encoder"),
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """Everything lies at the model: a projection for each state that is read, for the last one, and what joins them."""
    model = next((site for site in sites if site.kind == "model"), None)
    sources = _sources(sites)
    if model is None or not sources:
        return {}
    d = model.d_out
    m = params.width or max(1, d // 2)
    decls = [decl for site in sources for decl in _projection(site.path, site.d_out, m)]
    up = ParamDecl("up.weight", (d, m), init="zeros" if params.output == "residual" else "kaiming")
    return {
        model.path: (
            *decls,
            *_projection("guide", d, m),
            *_projection("join", m, m),
            ParamDecl("score.weight", (1, m), init="kaiming"),
            up,
            ParamDecl("up.bias", (d,), decay=False),
        )
    }


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The widest network within the budget."""

    def make(width: int) -> Params:
        return params.model_copy(update={"width": width})

    def count(sized: Params) -> int:
        return sum(decl.count for decls in declare_over(sized, sites).values() for decl in decls)

    return largest(make, count, budget, most=8192)


def _sources(sites: Sequence[Site]) -> list[Site]:
    """The embeddings and every block but the last, whose state is the model's own."""
    embeddings = [site for site in sites if site.role == "embed_norm"] or [s for s in sites if s.role == "embed"]
    blocks = sorted((site for site in sites if site.kind == "block"), key=lambda site: site.layer or 0)
    return [*embeddings[:1], *blocks[:-1]]


def _projection(name: str, d_in: int, d_out: int) -> tuple[ParamDecl, ...]:
    """A linear map and a norm."""
    return (
        ParamDecl(f"{name}.weight", (d_out, d_in), init="kaiming"),
        ParamDecl(f"{name}.bias", (d_out,), decay=False),
        ParamDecl(f"{name}.norm.weight", (d_out,), init="ones", decay=False),
        ParamDecl(f"{name}.norm.bias", (d_out,), decay=False),
    )
