"""LoRA: two factors per matrix, A of shape (r, d_in) and B of shape (d_out, r)."""

from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size, scale and start of the low-rank update."""

    rank: int = ui(8, lo=1, hi=1024, label="Rank", help="Rank r of the update; parameters grow in proportion.")
    alpha: float = ui(16.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / rank.")
    dropout: float = ui(
        0.0, lo=0, hi=0.95, step=0.05, label="Dropout", help="Share of inputs zeroed on the way into A.", advanced=True
    )
    rslora: bool = ui(
        False,
        label="Rank-stabilised scale",
        help="Scale by alpha / sqrt(rank) instead (arXiv 2312.03732).",
        advanced=True,
    )
    init: Literal["kaiming", "gaussian", "pissa", "olora"] = ui(
        "kaiming",
        label="Start",
        help="A drawn at random and B zero, or both from the weight's leading SVD (PiSSA) or QR (OLoRA) directions.",
        advanced=True,
    )
    lr_ratio: float = ui(
        1.0,
        lo=0.01,
        hi=1024,
        label="Learning rate of B",
        help="B learns this many times faster than A; LoRA+ (arXiv 2402.12354) advises 16.",
        advanced=True,
    )


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    learning_rate=2e-4,
    export="lora",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A starts random and B at zero (section 4.1), or both from the weight, with copies A0 and B0 of that start.

    A start from the weight has at most as many directions as the weight.
    """
    if params.init in ("pissa", "olora"):
        rank = min(params.rank, site.d_in, site.d_out)
        factors = _pair(rank, site, "zeros", params.lr_ratio)
        return (
            *factors,
            ParamDecl("A0", (rank, site.d_in), role="fixed"),
            ParamDecl("B0", (site.d_out, rank), role="fixed"),
        )
    return _pair(
        params.rank, site, "kaiming" if params.init == "kaiming" else f"normal:{1 / params.rank}", params.lr_ratio
    )


def _pair(rank: int, site: Site, init: str, lr_ratio: float) -> tuple[ParamDecl, ParamDecl]:
    return ParamDecl("A", (rank, site.d_in), init=init), ParamDecl("B", (site.d_out, rank), lr_mult=lr_ratio)


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget; the ratio alpha / rank is kept."""
    fitted = fit_field(params, "rank", declare, sites, budget, most=1024)
    return fitted.model_copy(update={"alpha": params.alpha * fitted.rank / params.rank})
