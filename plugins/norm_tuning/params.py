"""Norm tuning: every normalisation's scale, and its shift where it has one, is trained in place."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Norm tuning has no parameters: the placement chooses the norms."""


traits = Traits(
    kinds=("norm",),
    where="kind == norm",
    mergeable=True,
    trains_base=True,
    learning_rate=1e-3,
    export="base",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """The norm's own tensors."""
    weight = ParamDecl("weight", site.shape, base="weight", decay=False)
    return (weight, ParamDecl("bias", (site.d_out,), base="bias", decay=False)) if site.has_bias else (weight,)
