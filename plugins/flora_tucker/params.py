"""FLoRA: a core tensor and one factor per dimension of the weight."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, count_over, largest, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size of the core, by dimension, and scale of the update."""

    rank_in: int = ui(8, lo=1, hi=4096, label="Rank of inputs", help="Size of the core along the inputs.")
    rank_out: int = ui(8, lo=1, hi=4096, label="Rank of outputs", help="Size of the core along the outputs.")
    rank_kernel: int = ui(
        2, lo=1, hi=16, label="Rank of kernels", help="Size of the core along each side of a convolution's kernel."
    )
    scale: float = ui(2.0, lo=0.01, hi=100, label="Scale", help="The update is multiplied by this; 0.4 to 4 is usual.")


traits = Traits(
    kinds=("linear", "conv"),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2) or kind == conv",
    mergeable=True,
    edits=(),
    learning_rate=1e-3,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A core at zero and random factors, none with more directions than its dimension has."""
    shape = site.shape if site.kind == "conv" else (site.d_out, site.d_in)
    wanted = (params.rank_out, params.rank_in, *[params.rank_kernel] * (len(shape) - 2))
    ranks = [min(rank, size) for rank, size in zip(wanted, shape, strict=True)]
    factors = [
        ParamDecl(f"U{i}", (size, rank), f"normal:{(0.5 / rank) ** 0.5}")
        for i, (size, rank) in enumerate(zip(shape, ranks, strict=True))
    ]
    return ParamDecl("G", tuple(ranks)), *factors


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest core within the budget; the ranks of inputs and outputs keep their ratio."""

    def make(size: int) -> Params:
        rank_out = max(1, round(size * params.rank_out / params.rank_in))
        return params.model_copy(update={"rank_in": size, "rank_out": min(rank_out, 4096)})

    return largest(make, lambda sized: count_over(declare, sized, sites), budget, most=4096)
