"""Last block: the base tensors of the last n blocks are trained in place."""

from collections.abc import Mapping, Sequence

from studio.api import ParamDecl, Site, Traits, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How many blocks are trained, counted from the last."""

    blocks: int = ui(1, lo=1, hi=1024, label="Blocks", help="How many of the last blocks are trained.")


traits = Traits(
    kinds=("linear", "norm", "conv"),
    where="layer >= 0 and (kind in (linear, norm, conv) or role in (router, expert_gate_up, expert_down))",
    mergeable=True,
    trains_base=True,
    learning_rate=1e-4,
    export="base",
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """Weights and biases of the last of the layers that the sites lie in."""
    layers = sorted({site.layer for site in sites if site.layer is not None})[-params.blocks :]
    return {site.path: _tensors(site) for site in sites if site.layer in layers}


def _tensors(site: Site) -> tuple[ParamDecl, ...]:
    weight = ParamDecl("weight", site.shape, base="weight", decay=site.kind != "norm")
    bias = (ParamDecl("bias", (site.d_out,), base="bias", decay=False),) if site.has_bias else ()
    return (weight, *bias)
