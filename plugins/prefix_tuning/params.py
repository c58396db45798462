"""Prefix tuning: n keys and n values at every attention, or a network that makes them."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Length of the prefix and the network behind it."""

    tokens: int = ui(16, lo=1, hi=4096, label="Prefix length", help="Virtual keys and values of each attention.")
    bottleneck: int = ui(
        0, lo=0, hi=8192, label="Network width", advanced=True,
        help="Width of a two-layer network that makes the prefix while it trains (section 4.3); 0 trains it directly.",
    )  # fmt: skip


traits = Traits(
    kinds=("attention",), where="kind == attention", identity_at_init=False, learning_rate=1e-2,
)  # fmt: skip


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """Keys and values, or embeddings and the two layers of the network; nothing where keys cannot be reached."""
    n, width = params.tokens, params.bottleneck
    if not site.d_kv:
        return ()
    if not width:
        return (
            ParamDecl("keys", (n, site.d_kv), init="normal:0.02", decay=False),
            ParamDecl("values", (n, site.d_kv), init="normal:0.02", decay=False),
        )
    return (
        ParamDecl("embedding", (n, site.d_in), init="normal:1.0", share="prefix"),
        ParamDecl("down.weight", (width, site.d_in), init="kaiming", share="prefix"),
        ParamDecl("down.bias", (width,), share="prefix", decay=False),
        ParamDecl("up.weight", (2 * site.d_kv, width), init="kaiming"),
        ParamDecl("up.bias", (2 * site.d_kv,), decay=False),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """As long a prefix as the budget allows."""
    return fit_field(params, "tokens", declare, sites, budget)
