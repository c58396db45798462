"""Context-aware prompt tuning: a change for each token of a context of labelled examples."""

from collections.abc import Sequence

from pydantic import field_validator

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """The labelled examples, how they are written, and how far their embeddings may move."""

    tokens: int = ui(
        64, lo=1, hi=4096, label="Context length", help="Tokens of the context; a shorter one repeats, a longer one "
        "loses its beginning.",
    )  # fmt: skip
    context: str = ui(
        "a great film => good | an awful film => bad",
        label="Examples", help="Labelled examples as input => label, with | or a new line between them.",
    )  # fmt: skip
    input_template: str = ui("input: {}", label="Input", help="How an input is written; {} stands for it.")
    output_template: str = ui("output: {}", label="Output", help="How a label is written; {} stands for it.")
    epsilon: float = ui(
        0.2, lo=0, hi=10, step=0.05, label="Bound", help="How far the embedding of an input's token may move.",
    )  # fmt: skip
    template_epsilon: float = ui(
        0.1, lo=0, hi=10, step=0.05, label="Template bound", help="The same for the tokens of the templates.",
    )  # fmt: skip

    @field_validator("context")
    @classmethod
    def _has_examples(cls, text: str) -> str:
        if not all(given and label for given, label in parse_examples(text)):
            raise ValueError("needs every example in the form input => label")
        return text

    @field_validator("input_template", "output_template")
    @classmethod
    def _has_one_slot(cls, text: str) -> str:
        if text.count("{}") != 1:
            raise ValueError("must hold {} once")
        return text


traits = Traits(
    kinds=("model",),
    where="kind == model",
    identity_at_init=False,
    learning_rate=1e-3,
    packs=False,
    families=("decoder",),
)


def parse_examples(context: str) -> list[tuple[str, str]]:
    """The inputs and labels of a context, the oldest first; what is missing of one is empty."""
    parts = [part.partition("=>") for part in context.replace("\n", "|").split("|")]
    return [(text.strip(), label.strip()) for text, _, label in parts]


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A change per token of the context, and beside it the token's embedding and what part of an example it is."""
    size = (params.tokens, site.d_in)
    return (
        ParamDecl("delta", size, decay=False),
        ParamDecl("embedding", size, role="fixed"),
        ParamDecl("part", (params.tokens,), role="fixed", dtype="int64"),
    )


def extra_tokens(params: Params) -> int:
    """Every sequence grows by the context."""
    return params.tokens


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """As long a context as the budget allows."""
    return fit_field(params, "tokens", declare, sites, budget)
