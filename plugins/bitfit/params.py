"""BitFit: every bias at the chosen sites is trained in place."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits
from studio.api import Params as BaseParams


class Params(BaseParams):
    """BitFit has no parameters: the placement chooses the biases."""


traits = Traits(
    kinds=("linear", "norm", "conv"),
    where="kind in (linear, norm, conv)",
    mergeable=True,
    trains_base=True,
    learning_rate=1e-3,
    export="base",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """The site's own bias; a site without one is left alone."""
    return (ParamDecl("bias", (site.d_out,), base="bias", decay=False),) if site.has_bias else ()
