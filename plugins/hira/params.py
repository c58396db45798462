"""HiRA: LoRA's two factors, whose product multiplies the weight."""

import math
from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size of the multiplier."""

    rank: int = ui(32, lo=1, hi=1024, label="Rank", help="Rank r of the multiplier; parameters grow in proportion.")


traits = Traits(
    kinds=("linear", "conv"),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2) or kind == conv",
    mergeable=True,
    edits=("weight",),
    learning_rate=2e-3,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A random, B zero; a convolution's kernel counts as inputs."""
    d_in = math.prod(site.shape[1:]) if site.kind == "conv" else site.d_in
    return (
        ParamDecl("A", (params.rank, d_in), init="kaiming"),
        ParamDecl("B", (site.d_out, params.rank)),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget."""
    return fit_field(params, "rank", declare, sites, budget, most=1024)
