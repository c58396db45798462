"""IncreLoRA: rank-one components per matrix, of which only some are in use at first."""

import math
from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, count_over, largest, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How much rank there is in the end and how it is handed out."""

    rank: int = ui(8, lo=1, hi=512, label="Rank", help="Rank in the end, on average over the matrices.")
    room: float = ui(
        2.0, lo=1, hi=16, step=0.5, label="Room", help="A matrix may grow to this many times the average rank."
    )
    alpha: float = ui(16.0, lo=0.01, hi=4096, label="Alpha", help="The update is scaled by alpha / its rank.")
    scale: Literal["current", "fixed"] = ui(
        "current",
        label="Scaled by",
        help="The matrix's current rank, as in the paper, or the average rank in the end.",
        advanced=True,
    )
    matrices: int = ui(4, lo=1, label="Matrices", help="How many matrices grow at a time.", advanced=True)
    first: float = ui(
        0.1, lo=0, hi=0.9, step=0.05, label="First growth", help="Share of the steps before any matrix grows.",
        advanced=True,
    )  # fmt: skip
    last: float = ui(
        0.5, lo=0, hi=0.9, step=0.05, label="Last growth", help="Share of the steps by which all rank is handed out.",
        advanced=True,
    )  # fmt: skip
    orthogonality: float = ui(
        0.1, lo=0, hi=10, label="Orthogonality", help="Weight of the penalty that keeps components orthonormal.",
        advanced=True,
    )  # fmt: skip
    smoothing: float = ui(
        0.85, lo=0.01, hi=0.999, label="Smoothing", help="Decay of the averages of importance and of its uncertainty.",
        advanced=True,
    )  # fmt: skip


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    edits=("change",),
    learning_rate=1e-3,
    export="lora",
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """Room for every component a matrix may get; its rank, importance, and how far new components are warmed up."""
    room = round(params.room * params.rank)
    return (
        ParamDecl("A", (room, site.d_in), "normal:0.02", decay=False),
        ParamDecl("E", (room,), decay=False),
        ParamDecl("B", (site.d_out, room), "normal:0.02", decay=False),
        ParamDecl("rank", (1,), "ones", role="fixed"),
        *(ParamDecl(name, (1,), role="state") for name in ("seen", "mean", "spread")),
        ParamDecl("E_last", (room,), role="state"),
        ParamDecl("born", (room,), role="state"),
    )


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The most components within the budget, of which as many as ``room`` says are in use; alpha / rank is kept."""

    def make(components: int) -> Params:
        rank = math.ceil(components / params.room)
        scaled = params.alpha * rank / params.rank
        return params.model_copy(update={"rank": rank, "room": components / rank, "alpha": scaled})

    return largest(make, lambda sized: count_over(declare, sized, sites), budget, most=512)
