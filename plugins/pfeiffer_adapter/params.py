"""Pfeiffer adapters: a bottleneck after the feed-forward's last map."""

from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Width and nonlinearity of the bottleneck."""

    bottleneck: int = ui(48, lo=1, hi=4096, label="Bottleneck", help="Width of the adapter's hidden layer.")
    activation: Literal["relu", "gelu", "silu", "tanh"] = ui(
        "relu", label="Nonlinearity", help="What stands between the two projections.", advanced=True
    )


traits = Traits(
    kinds=("linear", "attention", "ffn", "block"),
    where="role in (down, fc2)",
    learning_rate=3e-4,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """Two projections with biases; the second starts at zero, so the model starts unchanged."""
    width, size = site.d_out, params.bottleneck
    return (
        ParamDecl("down.weight", (size, width), init="kaiming"),
        ParamDecl("down.bias", (size,), decay=False),
        ParamDecl("up.weight", (width, size)),
        ParamDecl("up.bias", (width,), decay=False),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The widest bottleneck within the budget."""
    return fit_field(params, "bottleneck", declare, sites, budget)
