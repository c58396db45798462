"""DiReFT: two low-rank maps at the output of each chosen block."""

from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """The edit's size and form, and the tokens that are edited."""

    rank: int = ui(8, lo=1, hi=1024, label="Rank", help="Rank of the edit.")
    first: int = ui(7, lo=0, hi=4096, label="First tokens", help="Tokens edited at the beginning of the prompt.")
    last: int = ui(7, lo=0, hi=4096, label="Last tokens", help="Tokens edited at the end of the prompt.")
    variant: Literal["direft", "noreft"] = ui(
        "direft", label="Variant", advanced=True,
        help="DiReFT adds the edit; NoReFT also takes away what the subspace held before.",
    )  # fmt: skip


traits = Traits(
    kinds=("block",),
    where="kind == block",
    learning_rate=9e-4,
    families=("decoder", "encoder"),
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """W2 starts at zero, so the model starts unchanged."""
    shape = (params.rank, site.d_out)
    return (
        ParamDecl("W1", shape, init="kaiming"),
        ParamDecl("b", shape[:1], decay=False),
        ParamDecl("W2", shape),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget."""
    return fit_field(params, "rank", declare, sites, budget, most=1024)
