"""SaRA: a share of every weight matrix, its smallest entries, each with a trained change."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, count_over, largest, ui
from studio.api import Params as BaseParams

WHOLE = 1 << 50  # parts of a share that a float tells apart


class Params(BaseParams):
    """How many entries are trained and how they are kept in check."""

    share: float = ui(
        0.1, lo=0, hi=1, step=0.01, label="Share", help="Share of each weight's entries that train, the smallest ones."
    )
    penalty: float = ui(
        5e-4, lo=0, label="Rank penalty",
        help="Weight of the nuclear norm of one matrix's trained entries, another one each step; 0 for none.",
    )  # fmt: skip
    renew_at: float = ui(
        0.5, lo=0, hi=1, step=0.05, label="Renew at",
        help="Share of the steps after which only entries that are still small train on; 1 for never.",
    )  # fmt: skip


traits = Traits(
    kinds=("linear", "conv"),
    where="kind in (linear, conv) and layer >= 0",
    mergeable=True,
    edits=(),
    learning_rate=5e-4,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """The changes and their places; and for training the bound of smallness and which of the changes stand still."""
    entries = int(params.share * _size(site))
    if not entries:
        return ()
    return (
        ParamDecl("values", (entries,), decay=False),
        ParamDecl("index", (entries,), role="fixed", dtype="int64"),
        ParamDecl("bound", (1,), role="state"),
        ParamDecl("still", (entries,), role="state", dtype="bool"),
        ParamDecl("kept", (entries,), role="state"),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest share within the budget, to the last entry."""

    def make(parts: int) -> Params:
        return params.model_copy(update={"share": parts / WHOLE})

    fitted = largest(make, lambda sized: count_over(declare, sized, sites), budget, most=WHOLE)
    if not count_over(declare, fitted, sites):
        raise ValueError("the budget is less than one entry of any matrix's share")
    return fitted


def _size(site: Site) -> int:
    """Entries of one map."""
    size = 1
    for length in site.shape:
        size *= length
    return size // site.copies
