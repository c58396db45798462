"""Diff pruning: at every weight a change and the location of its gate."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How strongly changes are thinned out, and how many stay."""

    penalty: float = ui(
        1.25e-7, lo=0, label="Penalty", help="Added to the loss for every change that is expected to stay."
    )
    density: float = ui(
        0.005, lo=0, hi=1, step=0.005, label="Kept share",
        help="Share of the changes, the largest, that stay from the time of pruning on.",
    )  # fmt: skip
    prune_at: float = ui(
        0.5, lo=0, hi=1, step=0.05, label="Prune at",
        help="Share of the steps after which the largest changes are fixed; they train on alone.",
    )  # fmt: skip
    structured: bool = ui(
        False, label="Structured", help="One more gate for each matrix as a whole (section 3.2).", advanced=True
    )


traits = Traits(mergeable=True, learning_rate=1e-3)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """Changes that start at zero, and gates that start open; gates move a hundred times as fast."""
    shape = (site.d_out, site.d_in)
    group = (ParamDecl("group", (1,), init="constant:5", decay=False, lr_mult=100.0),) if params.structured else ()
    return (
        ParamDecl("change", shape, decay=False),
        ParamDecl("alpha", shape, init="constant:5", decay=False, lr_mult=100.0),
        *group,
    )
