"""LoRA-FA: LoRA's second factor alone; the first is drawn from the seed and stays."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size and scale of the low-rank update."""

    rank: int = ui(16, lo=1, hi=2048, label="Rank", help="Rank r of the update; parameters grow in proportion.")
    alpha: float = ui(32.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / rank.")


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    learning_rate=1e-3,
    export="lora",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """B starts at zero; A is random and frozen."""
    return (
        ParamDecl("A", (params.rank, site.d_in), init="kaiming", role="seeded"),
        ParamDecl("B", (site.d_out, params.rank)),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget; the ratio alpha / rank is kept."""
    fitted = fit_field(params, "rank", declare, sites, budget, most=2048)
    return fitted.model_copy(update={"alpha": params.alpha * fitted.rank / params.rank})
