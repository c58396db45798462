"""AdaLoRA: singular triplets (P, lambda, Q) per matrix, more of them at first than in the end."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How much rank there is at first and in the end, and how it is taken away."""

    rank: int = ui(12, lo=1, hi=1024, label="Rank at first", help="Rank of every matrix when training starts.")
    target: int = ui(8, lo=1, hi=1024, label="Rank in the end", help="Rank that is left, on average over the matrices.")
    alpha: float = ui(16.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / rank at first.")
    orthogonality: float = ui(
        0.1, lo=0, hi=10, label="Orthogonality", help="Weight of the penalty that keeps P and Q orthogonal."
    )
    warmup: float = ui(
        0.1, lo=0, hi=0.45, step=0.05, label="Before pruning", help="Share of the steps before any rank is taken away.",
        advanced=True,
    )  # fmt: skip
    settle: float = ui(
        0.3, lo=0, hi=0.45, step=0.05, label="After pruning", help="Share of the steps that train the final pattern.",
        advanced=True,
    )  # fmt: skip
    interval: int = ui(10, lo=1, label="Interval", help="Steps between two prunings.", unit="steps", advanced=True)
    smoothing: float = ui(
        0.85, lo=0.01, hi=0.999, label="Smoothing", help="Decay of the averages of importance and of its uncertainty.",
        advanced=True,
    )  # fmt: skip


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    learning_rate=5e-4,
    export="lora",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """Random P (as B) and Q (as A), lambda (as E) at zero; averages of importance and uncertainty of every element."""
    shapes = {"A": (params.rank, site.d_in), "E": (params.rank,), "B": (site.d_out, params.rank)}
    trained = [ParamDecl(n, shape, "zeros" if n == "E" else "normal:0.02", decay=False) for n, shape in shapes.items()]
    averages = [ParamDecl(f"{n}_{a}", shape, role="state") for n, shape in shapes.items() for a in ("mean", "spread")]
    return *trained, *averages, ParamDecl("kept", shapes["E"], "ones", role="state", dtype="bool")


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank at first within the budget; the rank in the end and alpha stay in proportion to it."""
    fitted = fit_field(params, "rank", declare, sites, budget, most=1024)
    ratio = fitted.rank / params.rank
    target = min(fitted.rank, max(1, round(params.target * ratio)))
    return fitted.model_copy(update={"alpha": params.alpha * ratio, "target": target})
