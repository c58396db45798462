"""Prompt tuned embedding classification: a soft prompt with a learning rate of its own."""

from collections.abc import Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How long the prompt is, where it starts, and how fast it learns."""

    tokens: int = ui(100, lo=1, hi=4096, label="Virtual tokens", help="Tokens put before every sequence.")
    labels: str = ui(
        "positive, negative", label="Label names", help="The names of the classes, whose embeddings the prompt "
        "starts from; without any it starts from small random numbers.",
    )  # fmt: skip
    prompt_rate: float = ui(
        300.0, lo=0.0, hi=1e6, label="Prompt rate", advanced=True,
        help="The prompt's learning rate in multiples of the run's, which the classifier learns at.",
    )  # fmt: skip


traits = Traits(
    kinds=("model",),
    where="kind == model",
    identity_at_init=False,
    learning_rate=1e-5,
    packs=False,
    families=("decoder", "encoder"),
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """One embedding per virtual token; the classifier is the task's own."""
    size = (params.tokens, site.d_in)
    return (ParamDecl("tokens", size, init="normal:0.02", decay=False, lr_mult=params.prompt_rate),)


def extra_tokens(params: Params) -> int:
    """Every sequence grows by the virtual tokens."""
    return params.tokens


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """As many tokens as the budget allows."""
    return fit_field(params, "tokens", declare, sites, budget)
