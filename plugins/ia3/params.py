"""(IA)3: one vector at each site; over its input at the last map of a feed-forward, over its output elsewhere."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits
from studio.api import Params as BaseParams

INPUT = ("down", "fc2", "expert_down")


class Params(BaseParams):
    """(IA)3 has no parameters: the placement chooses the sites."""


traits = Traits(where="role in (k, v, qkv, down, fc2)", mergeable=True, learning_rate=3e-3)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A vector of ones, so that the model starts unchanged (section 3.3)."""
    size = site.d_in if site.role in INPUT else site.d_out
    return (ParamDecl("scale", (size,), init="ones", decay=False),)
