"""LoReFT: an orthonormal subspace and a linear map to it, at the output of each chosen block."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """The subspace's size and the tokens that are edited."""

    rank: int = ui(8, lo=1, hi=1024, label="Rank", help="Dimensions of the edited subspace.")
    first: int = ui(7, lo=0, hi=4096, label="First tokens", help="Tokens edited at the beginning of the prompt.")
    last: int = ui(7, lo=0, hi=4096, label="Last tokens", help="Tokens edited at the end of the prompt.")


traits = Traits(
    kinds=("block",),
    where="kind == block",
    learning_rate=9e-4,
    families=("decoder", "encoder"),
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """R is what the orthonormal rows are made of; W starts as they are and b at zero, so nothing is edited at first."""
    shape = (params.rank, site.d_out)
    return (
        ParamDecl("R", shape, init="normal:1.0", decay=False),
        ParamDecl("W", shape),
        ParamDecl("b", shape[:1], decay=False),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget."""
    return fit_field(params, "rank", declare, sites, budget, most=1024)
