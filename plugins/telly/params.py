"""Telly-K: the base tensors above the K lowest blocks are trained in place."""

from collections.abc import Mapping, Sequence

from studio.api import ParamDecl, Site, Traits, ui
from studio.api import Params as BaseParams

ABOVE = ("norm", "head_proj", "head", "pooler")  # what comes after the blocks


class Params(BaseParams):
    """How much of the model stays frozen."""

    frozen: float = ui(
        0.5, lo=0, hi=1, step=0.05, label="Frozen blocks",
        help="Share of the blocks frozen from the bottom, rounded to whole blocks; 0 freezes the embeddings only.",
    )  # fmt: skip


traits = Traits(
    kinds=("linear", "norm", "conv"),
    where="kind in (linear, norm, conv) or role in (router, expert_gate_up, expert_down, head)",
    mergeable=True,
    trains_base=True,
    learning_rate=2e-5,
    export="base",
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """Weights and biases of the blocks above the K lowest, and of what follows them (Telly-K)."""
    blocks = max((site.layer + 1 for site in sites if site.layer is not None), default=0)
    first = round(params.frozen * blocks)
    return {site.path: _tensors(site) for site in sites if _is_above(site, first) and not site.tied_to}


def _is_above(site: Site, first: int) -> bool:
    return site.role in ABOVE if site.layer is None else site.layer >= first


def _tensors(site: Site) -> tuple[ParamDecl, ...]:
    weight = ParamDecl("weight", site.shape, base="weight", decay=site.kind != "norm")
    bias = (ParamDecl("bias", (site.d_out,), base="bias", decay=False),) if site.has_bias else ()
    return (weight, *bias)
