"""LoHa: two pairs of factors per matrix, multiplied entry by entry."""

import math
from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size and scale of the update."""

    rank: int = ui(
        8, lo=1, hi=1024, label="Rank", help="Rank r of each product; that of the update is up to r squared."
    )
    alpha: float = ui(8.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / rank.")


traits = Traits(
    kinds=("linear", "conv"),
    where="role in (q, k, v, qkv, o) or kind == conv",
    mergeable=True,
    edits=("change", "change"),
    learning_rate=1e-3,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """All random but A2, which is zero; a convolution's kernel counts as inputs."""
    d_in = math.prod(site.shape[1:]) if site.kind == "conv" else site.d_in
    return (
        ParamDecl("A1", (params.rank, d_in), init="kaiming"),
        ParamDecl("B1", (site.d_out, params.rank), init="kaiming"),
        ParamDecl("A2", (params.rank, d_in)),
        ParamDecl("B2", (site.d_out, params.rank), init="kaiming"),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget; the ratio alpha / rank is kept."""
    fitted = fit_field(params, "rank", declare, sites, budget, most=1024)
    return fitted.model_copy(update={"alpha": params.alpha * fitted.rank / params.rank})
