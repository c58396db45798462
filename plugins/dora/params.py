"""DoRA: LoRA's two factors for the direction of a weight, and one magnitude per output row."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size and scale of the change of direction."""

    rank: int = ui(8, lo=1, hi=1024, label="Rank", help="Rank r of the change of direction.")
    alpha: float = ui(16.0, lo=0.01, hi=4096, label="Alpha", help="The change is scaled by alpha / rank.")


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    learning_rate=2e-4,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A random, B zero; the magnitudes start as the norms of the weight's rows."""
    return (
        ParamDecl("A", (params.rank, site.d_in), init="kaiming"),
        ParamDecl("B", (site.d_out, params.rank)),
        ParamDecl("m", (site.d_out,), init="ones", decay=False),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget; the ratio alpha / rank is kept."""
    fitted = fit_field(params, "rank", declare, sites, budget, most=1024)
    return fitted.model_copy(update={"alpha": params.alpha * fitted.rank / params.rank})
