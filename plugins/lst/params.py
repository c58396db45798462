"""LST: a narrow side network with a rung to every block of a base model that runs without gradients."""

from collections.abc import Mapping, Sequence

from studio.api import ParamDecl, Site, Traits, largest, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Width of the side network and how many rungs the ladder has."""

    width: int = ui(0, lo=0, hi=8192, label="Width", help="Width of the side network; 0 is an eighth of the model's.")
    every: int = ui(
        1, lo=1, hi=256, label="Every", help="A rung at each so many blocks, counted from the last.", advanced=True
    )


traits = Traits(
    kinds=("model", "block", "embedding", "norm"),
    where="kind in (model, block) or role in (embed, embed_norm)",
    reads="kind == block or role in (embed, embed_norm)",
    backbone_grad=False,
    learning_rate=1e-3,
    families=("decoder", "encoder"),
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """Everything lies at the model: the first state's map, the rungs, and the map back to the model's width."""
    model = next((site for site in sites if site.kind == "model"), None)
    embeddings = [site for site in sites if site.role == "embed_norm"] or [s for s in sites if s.role == "embed"]
    if model is None or not embeddings:
        return {}
    d = model.d_out
    m = params.width or max(1, d // 8)
    blocks = sorted((site for site in sites if site.kind == "block"), key=lambda site: site.layer or 0)
    rungs = [decl for site in blocks[::-1][:: params.every] for decl in _rung(site, m)]
    return {
        model.path: (
            *_linear(f"{embeddings[0].path}.down", embeddings[0].d_out, m),
            *rungs,
            *_norm("norm", m),
            ParamDecl("up.weight", (d, m)),
            ParamDecl("up.bias", (d,), decay=False),
        )
    }


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The widest side network within the budget."""

    def make(width: int) -> Params:
        return params.model_copy(update={"width": width})

    def count(sized: Params) -> int:
        return sum(decl.count for decls in declare_over(sized, sites).values() for decl in decls)

    return largest(make, count, budget, most=8192)


def _rung(site: Site, m: int) -> tuple[ParamDecl, ...]:
    """The block's map down, its gate, and a side block: attention and a feed-forward of four times the width."""
    path = site.path
    return (
        *_linear(f"{path}.down", site.d_out, m),
        ParamDecl(f"{path}.gate", (1,), decay=False),
        *_norm(f"{path}.norm1", m),
        ParamDecl(f"{path}.qkv.weight", (3 * m, m), init="kaiming"),
        ParamDecl(f"{path}.o.weight", (m, m), init="kaiming"),
        *_norm(f"{path}.norm2", m),
        *_linear(f"{path}.fc1", m, 4 * m),
        *_linear(f"{path}.fc2", 4 * m, m),
    )


def _linear(name: str, d_in: int, d_out: int) -> tuple[ParamDecl, ...]:
    weight = ParamDecl(f"{name}.weight", (d_out, d_in), init="kaiming")
    return weight, ParamDecl(f"{name}.bias", (d_out,), decay=False)


def _norm(name: str, m: int) -> tuple[ParamDecl, ...]:
    weight = ParamDecl(f"{name}.weight", (m,), init="ones", decay=False)
    return weight, ParamDecl(f"{name}.bias", (m,), decay=False)
