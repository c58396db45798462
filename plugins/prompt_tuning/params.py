"""Prompt tuning: n virtual tokens of the model's width."""

from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How many virtual tokens there are and where they start."""

    tokens: int = ui(20, lo=1, hi=4096, label="Virtual tokens", help="Tokens put before every sequence.")
    start: Literal["text", "random"] = ui(
        "text", label="Start from", help="The embeddings of a text, repeated to the length, or small random numbers."
    )
    text: str = ui(
        "Answer the question.", label="Text", help="The text whose embeddings the tokens start from.",
        when="start == text",
    )  # fmt: skip


traits = Traits(
    kinds=("model",),
    where="kind == model",
    identity_at_init=False,
    learning_rate=3e-2,
    packs=False,
    families=("decoder", "encoder", "encoder-decoder"),
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """One embedding per virtual token."""
    return (ParamDecl("tokens", (params.tokens, site.d_in), init="normal:0.02", decay=False),)


def extra_tokens(params: Params) -> int:
    """Every sequence grows by the virtual tokens."""
    return params.tokens


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """As many tokens as the budget allows."""
    return fit_field(params, "tokens", declare, sites, budget)
