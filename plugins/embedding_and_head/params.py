"""Embedding and head: the vocabulary's tensors are trained in place."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Embedding and head have no parameters: the placement chooses the tensors."""


traits = Traits(
    kinds=("embedding", "linear"),
    where="role in (embed, head)",
    mergeable=True,
    trains_base=True,
    learning_rate=1e-4,
    export="base",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """The table, and the output layer with its bias; where both are one tensor, it is declared once."""
    weight = ParamDecl("weight", site.shape, base="weight", share=site.tied_to or site.path)
    bias = (ParamDecl("bias", (site.d_out,), base="bias", decay=False),) if site.has_bias else ()
    return (weight, *bias)
