"""Full fine-tuning: the base weights and biases themselves are trained."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Full fine-tuning has no parameters: the placement chooses the tensors."""


traits = Traits(
    kinds=("linear", "norm", "conv", "embedding"),
    where="kind in (linear, norm, conv, embedding)",
    mergeable=True,
    trains_base=True,
    learning_rate=2e-5,
    export="base",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """Weight and bias; norms and biases are exempt from weight decay. A tied tensor is declared once."""
    weight = ParamDecl("weight", site.shape, base="weight", decay=site.kind != "norm", share=site.tied_to or site.path)
    bias = (ParamDecl("bias", (site.d_out,), base="bias", decay=False),) if site.has_bias else ()
    return (weight, *bias)
