"""What the method trains: two factors per matrix. No torch here: forms and counts are made from this file alone."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams

MOST_RANK = 1024


class Params(BaseParams):
    """Each field becomes a key of the spec's ``params`` and a row of the form."""

    rank: int = ui(4, lo=1, hi=MOST_RANK, label="Rank", help="Rows of A; parameters grow in proportion.")


traits = Traits(kinds=("linear",), where="role in (q, v)", mergeable=True, learning_rate=2e-4)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """The trainable tensors at one site; the host makes them, so what is declared is what is trained.

    B starts at zero, so the model starts unchanged.
    """
    return (
        ParamDecl("A", (params.rank, site.d_in), init="kaiming"),
        ParamDecl("B", (site.d_out, params.rank)),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank whose parameters over all sites stay within the budget."""
    return fit_field(params, "rank", declare, sites, budget, most=MOST_RANK)
