"""LoKr: a small factor C and a large one, B A or D, per matrix, multiplied by Kronecker."""

import math
from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, count_over, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How a matrix is split, and size and scale of the update."""

    rank: int = ui(
        8, lo=1, hi=4096, label="Rank", help="Rank r of the large factor; it is kept whole where that is less."
    )
    alpha: float = ui(8.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / rank.")
    split: int = ui(
        0,
        lo=0,
        hi=256,
        label="Split",
        help="Sides of matrices are split into a part of at most this size and the rest; 0 splits evenly.",
        advanced=True,
    )


traits = Traits(
    kinds=("linear", "conv"),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2) or kind == conv",
    mergeable=True,
    edits=(),
    learning_rate=1e-3,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """C at zero, the large factor random; a convolution's kernel belongs to the large factor."""
    kernel = math.prod(site.shape[2:]) if site.kind == "conv" else 1
    small_in, large_in = _parts(site.shape[1] if site.kind == "conv" else site.d_in, params.split)
    small_out, large_out = _parts(site.d_out, params.split)
    width = large_in * kernel
    small = ParamDecl("C", (small_out, small_in))
    if params.rank * (large_out + width) >= large_out * width:
        return small, ParamDecl("D", (large_out, width), init="kaiming")
    return (
        small,
        ParamDecl("A", (params.rank, width), init="kaiming"),
        ParamDecl("B", (large_out, params.rank), init="kaiming"),
    )


def _parts(size: int, split: int) -> tuple[int, int]:
    """Two factors of a size, the first the largest that is at most ``split`` and at most the root."""
    limit = min(split or size, math.isqrt(size))
    part = next(n for n in range(limit, 0, -1) if size % n == 0)
    return part, size // part


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The most parameters within the budget, by rank and, where rank alone is not enough, by a coarser split."""
    found: list[Params] = []
    for split in (params.split, 8, 4, 2, 1):
        tried = params.model_copy(update={"split": split})
        if not found or count_over(declare, tried.model_copy(update={"rank": 1}), sites) <= budget:
            found.append(fit_field(tried, "rank", declare, sites, budget))
    fitted = max(found, key=lambda each: count_over(declare, each, sites))
    return fitted.model_copy(update={"alpha": params.alpha * fitted.rank / params.rank})
