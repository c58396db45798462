"""LoRA-XS: one square matrix between frozen factors of the weight."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size and scale of the update."""

    rank: int = ui(25, lo=1, hi=1024, label="Rank", help="Rank r of the update; parameters grow with its square.")
    alpha: float = ui(16.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / rank.")


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    learning_rate=2e-3,
    export="lora",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """R at zero; U S and V from the weight, of at most as many directions as it has."""
    rank = min(params.rank, site.d_in, site.d_out)
    return (
        ParamDecl("R", (rank, rank)),
        ParamDecl("US", (site.d_out, rank), role="fixed"),
        ParamDecl("V", (rank, site.d_in), role="fixed"),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget; the ratio alpha / rank is kept."""
    fitted = fit_field(params, "rank", declare, sites, budget, most=1024)
    return fitted.model_copy(update={"alpha": params.alpha * fitted.rank / params.rank})
