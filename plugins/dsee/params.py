"""DSEE: two factors and a few single entries for queries and values, and a mask over every weight."""

from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams

UPDATED = ("q", "v", "qkv")  # the roles that get an update; the others are only pruned


class Params(BaseParams):
    """Size of the update, where its single entries are, and how much of the base is pruned."""

    rank: int = ui(16, lo=1, hi=1024, label="Rank", help="Rank r of the low-rank part.")
    entries: int = ui(16, lo=0, hi=1_000_000, label="Entries", help="Single entries per matrix in the sparse part.")
    alpha: float = ui(32.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / rank.")
    pick: Literal["decomposition", "magnitude", "random"] = ui(
        "decomposition",
        label="Entries picked by",
        help="What a low-rank approximation of the weight leaves over, the size of the weight, or chance.",
        advanced=True,
    )
    prune: float = ui(
        0.2, lo=0, hi=0.95, step=0.05, label="Pruned", help="Share of the base weights set to zero; 0 prunes none."
    )
    importance: Literal["delta", "weight", "sum", "random"] = ui(
        "delta",
        label="Pruned by",
        help="The size of the update where there is one, of the weight, or of their sum; or chance.",
        advanced=True,
    )
    prune_at: float = ui(
        0.5, lo=0.05, hi=0.95, step=0.05, label="Pruned at", help="Share of the steps after which the base is pruned.",
        advanced=True,
    )  # fmt: skip


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    edits=(),
    learning_rate=5e-4,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """An update at queries and values, all zero at first; everywhere the mask, if the base is pruned."""
    kept = (ParamDecl("kept", (site.d_out, site.d_in), "ones", role="fixed", dtype="bool"),) if params.prune else ()
    if site.role not in UPDATED:
        return kept
    factors = ParamDecl("A", (params.rank, site.d_in), "kaiming"), ParamDecl("B", (site.d_out, params.rank))
    if not params.entries:
        return *factors, *kept
    entries = (min(params.entries, site.d_in * site.d_out),)
    sparse = ParamDecl("values", entries, decay=False), ParamDecl("index", entries, role="fixed", dtype="int64")
    return *factors, *sparse, *kept


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget; the entries stay, and so does the ratio alpha / rank."""
    fitted = fit_field(params, "rank", declare, sites, budget, most=1024)
    return fitted.model_copy(update={"alpha": params.alpha * fitted.rank / params.rank})
