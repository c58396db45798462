"""Sparse masks: a number of entries of the base weights, each with a trained change."""

from collections.abc import Mapping, Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How many entries are trained and how they are picked."""

    count: int = ui(10_000, lo=1, label="Entries", help="Single weights trained over all chosen sites together.")
    pick: Literal["random", "largest", "smallest", "fisher", "gradient"] = ui(
        "random",
        label="Picked by",
        help="Chance, the size of the weight, the Fisher information or the gradient on training rows.",
    )


traits = Traits(
    kinds=("linear", "conv"),
    where="kind in (linear, conv) and layer >= 0",
    mergeable=True,
    edits=(),
    learning_rate=1e-3,
    calibrates=True,
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """Entries by site, in proportion to its size; experts, which are many maps at one site, are left alone."""
    sizes = {site.path: _size(site) for site in sites if site.copies == 1}
    total = sum(sizes.values())
    if params.count > total:
        raise ValueError(f"the chosen sites have {total:,} weights, fewer than the {params.count:,} to train")
    shares = {path: params.count * size // total for path, size in sizes.items()}
    left = params.count - sum(shares.values())
    for path in sorted(shares, key=lambda path: -(params.count * sizes[path] % total))[:left]:
        shares[path] += 1
    return {
        path: (
            ParamDecl("values", (share,), decay=False),
            ParamDecl("index", (share,), role="fixed", dtype="int64"),
        )
        for path, share in shares.items()
        if share
    }


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """Exactly the budget."""
    total = sum(_size(site) for site in sites if site.copies == 1)
    if budget < 1:
        raise ValueError("the smallest size already has 1 parameter")
    return params.model_copy(update={"count": min(budget, total)})


def _size(site: Site) -> int:
    size = 1
    for length in site.shape:
        size *= length
    return size
