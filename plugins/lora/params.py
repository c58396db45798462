"""LoRA: two factors per matrix, A of shape (r, d_in) and B of shape (d_out, r)."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size and scale of the low-rank update."""

    rank: int = ui(8, lo=1, hi=1024, label="Rank", help="Rank r of the update; parameters grow in proportion.")
    alpha: float = ui(16.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / rank.")
    dropout: float = ui(
        0.0, lo=0, hi=0.95, step=0.05, label="Dropout", help="Share of inputs zeroed on the way into A.", advanced=True
    )
    rslora: bool = ui(
        False,
        label="Rank-stabilised scale",
        help="Scale by alpha / sqrt(rank) instead (arXiv 2312.03732).",
        advanced=True,
    )


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    learning_rate=2e-4,
    export="lora",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A starts random and B at zero, so the model starts unchanged (section 4.1)."""
    return (
        ParamDecl("A", (params.rank, site.d_in), init="kaiming"),
        ParamDecl("B", (site.d_out, params.rank)),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget; the ratio alpha / rank is kept."""
    fitted = fit_field(params, "rank", declare, sites, budget, most=1024)
    return fitted.model_copy(update={"alpha": params.alpha * fitted.rank / params.rank})
