"""Adapter+: a bottleneck on the residual stream after every block, scaled per channel."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Width of the bottleneck and how often it is skipped while training."""

    bottleneck: int = ui(8, lo=1, hi=4096, label="Bottleneck", help="Width of the adapter's hidden layer.")
    drop_path: float = ui(
        0.1, lo=0, hi=0.95, step=0.05, label="Drop path", advanced=True,
        help="Share of rows for which an adapter is left out while training.",
    )  # fmt: skip


traits = Traits(kinds=("block", "ffn", "linear"), where="kind == block", identity_at_init=False, learning_rate=1e-3)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """Two projections that start near zero and one factor per channel that starts at one (section 3.3)."""
    width, size = site.d_out, params.bottleneck
    return (
        ParamDecl("down.weight", (size, width), init="normal:0.01"),
        ParamDecl("down.bias", (size,), decay=False),
        ParamDecl("up.weight", (width, size), init="normal:0.01"),
        ParamDecl("up.bias", (width,), decay=False),
        ParamDecl("scale", (width,), init="ones", decay=False),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The widest bottleneck within the budget."""
    return fit_field(params, "bottleneck", declare, sites, budget)
