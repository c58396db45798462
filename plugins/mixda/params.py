"""MixDA: domain adapters beside the last map of chosen feed-forwards, mixed with it by a gate."""

from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How many domains there are, how wide their adapters are and how the gate decides."""

    domains: int = ui(1, lo=1, hi=16, label="Domains", help="Domain adapters beside each chosen feed-forward.")
    bottleneck: int = ui(
        0, lo=0, hi=8192, label="Bottleneck", help="Width of an adapter; 0 is a sixteenth of the feed-forward's."
    )
    gate: Literal["sigmoid per token", "softmax per sequence"] = ui(
        "sigmoid per token",
        label="Gate",
        help="Independent weights for each token, or shares that every token of a sequence gets from its first.",
    )
    gate_width: int = ui(
        0, lo=0, hi=4096, label="Gate width", help="Width of the gate's hidden layer; 0 is an adapter's.", advanced=True
    )
    start: float = ui(
        4.0, lo=-20, hi=20, step=0.5, label="Gate at start", advanced=True,
        help="The gate's bias for the base's feed-forward at the start; the higher, the nearer the base model.",
    )  # fmt: skip


traits = Traits(
    kinds=("linear",),
    where="role in (down, fc2) and layer + layer >= layers - 2 and layer + layer <= layers",
    identity_at_init=False,
    learning_rate=5e-4,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """The adapters, and the gate's two layers; what the adapters put out starts at zero."""
    size = params.bottleneck or max(1, site.d_in // 16)
    decls = []
    for k in range(params.domains):
        decls += [
            ParamDecl(f"{k}.down.weight", (size, site.d_in), init="kaiming"),
            ParamDecl(f"{k}.down.bias", (size,), decay=False),
            ParamDecl(f"{k}.up.weight", (site.d_out, size)),
            ParamDecl(f"{k}.up.bias", (site.d_out,), decay=False),
        ]
    width = params.gate_width or size
    return (
        *decls,
        ParamDecl("gate.down.weight", (width, site.d_in), init="kaiming"),
        ParamDecl("gate.down.bias", (width,), decay=False),
        ParamDecl("gate.up.weight", (params.domains + 1, width)),
        ParamDecl("gate.domains.bias", (params.domains,), decay=False),
        ParamDecl("gate.base.bias", (1,), init=f"constant:{params.start}", decay=False),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The widest adapters within the budget."""
    return fit_field(params, "bottleneck", declare, sites, budget)
