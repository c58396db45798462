"""SSF: one factor and one shift per output feature."""

from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Where features are shifted as well as scaled."""

    shift: Literal["bias", "always"] = ui(
        "bias",
        label="Shift",
        help="Only where the site has a bias, so that the result merges everywhere; or always, as in the paper.",
        advanced=True,
    )


traits = Traits(
    kinds=("linear", "conv", "norm"),
    where="kind in (linear, conv, norm) and role != head",
    mergeable=True,
    learning_rate=1e-3,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A factor that starts at one and, where it can be merged, a shift that starts at zero (equation 2)."""
    scale = ParamDecl("scale", (site.d_out,), init="ones", decay=False)
    if site.has_bias or params.shift == "always":
        return scale, ParamDecl("shift", (site.d_out,), decay=False)
    return (scale,)
