"""Intrinsic dimension: d numbers for the whole model, of which SAID spends one on each tensor."""

from collections.abc import Mapping, Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """The dimension and the directions."""

    dimension: int = ui(1000, lo=1, label="Dimension", help="Numbers trained for all chosen sites together.")
    variant: Literal["said", "did"] = ui(
        "said", label="Variant", help="With a factor for every tensor (SAID), or the directions alone (DID)."
    )
    seed: int = ui(0, lo=0, label="Seed", help="Seed of the directions; the result needs the same one.", advanced=True)


traits = Traits(
    kinds=("linear", "conv", "norm", "embedding"),
    where="kind in (linear, conv, norm) and layer >= 0",
    mergeable=True,
    edits=("change",),
    learning_rate=1e-2,
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """The shared coordinates and, for SAID, one factor for each tensor; together the dimension (equation 3)."""
    factors = {site.path: _factors(params, site) for site in sites if site.copies == 1}
    left = params.dimension - sum(len(decls) for decls in factors.values())
    if left < 1:
        raise ValueError(f"{params.dimension - left:,} tensors need a dimension above their number")
    theta = ParamDecl("theta", (left,), share="all", decay=False)
    return {path: (theta, *decls) for path, decls in factors.items()}


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """A dimension of exactly the budget."""
    fitted = params.model_copy(update={"dimension": budget})
    declare_over(fitted, sites)
    return fitted


def _factors(params: Params, site: Site) -> tuple[ParamDecl, ...]:
    names = ("weight", "bias") if site.has_bias else ("weight",)
    return tuple(ParamDecl(name, (1,), init="ones", decay=False) for name in names if params.variant == "said")
