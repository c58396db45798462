"""Last layer: the base tensors after the last block are trained in place."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits
from studio.api import Params as BaseParams


class Params(BaseParams):
    """The last layer has no parameters: the placement chooses the tensors."""


traits = Traits(
    kinds=("linear", "norm"),
    where="role in (norm, pooler, head_proj, head)",
    mergeable=True,
    trains_base=True,
    learning_rate=1e-4,
    export="base",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """Weight and bias; an output layer tied to the embedding trains the one tensor that both are."""
    weight = ParamDecl("weight", site.shape, base="weight", decay=site.kind != "norm", share=site.tied_to or site.path)
    bias = (ParamDecl("bias", (site.d_out,), base="bias", decay=False),) if site.has_bias else ()
    return (weight, *bias)
