"""P-tuning: n virtual tokens and the network that makes them."""

from collections.abc import Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Length of the prompt and the shape of its network."""

    tokens: int = ui(20, lo=1, hi=4096, label="Virtual tokens", help="Tokens put before every sequence.")
    encoder: Literal["mlp", "lstm"] = ui(
        "lstm", label="Network", help="Three layers over each token alone, or a two-way LSTM with two layers above it."
    )
    hidden: int = ui(
        128, lo=1, hi=16384, label="Network width", help="Features inside the network (each way, in the LSTM)."
    )
    depth: int = ui(
        2, lo=1, hi=8, label="LSTM layers", help="Layers of the LSTM, one upon the other.", when="encoder == lstm",
        advanced=True,
    )  # fmt: skip


traits = Traits(
    kinds=("model",),
    where="kind == model",
    identity_at_init=False,
    learning_rate=1e-3,
    packs=False,
    families=("decoder", "encoder", "encoder-decoder"),
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """The embeddings that the network reads, and its layers, started as torch does."""
    d, h = site.d_in, params.hidden
    tokens = ParamDecl("tokens", (params.tokens, d), init="normal:1.0", decay=False)
    if params.encoder == "mlp":
        return (tokens, *_linear("1", d, h), *_linear("2", h, h), *_linear("3", h, d))
    return (tokens, *_lstm(d, h, params.depth), *_linear("1", 2 * h, 2 * h), *_linear("2", 2 * h, d))


def _linear(name: str, d_in: int, d_out: int) -> tuple[ParamDecl, ...]:
    bias = ParamDecl(f"{name}.bias", (d_out,), init=f"uniform:{d_in**-0.5}", decay=False)
    return ParamDecl(f"{name}.weight", (d_out, d_in), init="kaiming"), bias


def _lstm(d_in: int, hidden: int, depth: int) -> tuple[ParamDecl, ...]:
    """Per layer and direction: weights over its input and its state, four gates each, and two biases."""
    init, gates = f"uniform:{hidden**-0.5}", 4 * hidden
    return tuple(
        ParamDecl(f"lstm.{layer}.{way}.{name}", shape, init=init, decay=len(shape) > 1)
        for layer in range(depth)
        for way in ("forward", "backward")
        for name, shape in (
            ("input", (gates, d_in if layer == 0 else 2 * hidden)),
            ("state", (gates, hidden)),
            ("input_bias", (gates,)),
            ("state_bias", (gates,)),
        )
    )


def extra_tokens(params: Params) -> int:
    """Every sequence grows by the virtual tokens."""
    return params.tokens


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """As wide a network as the budget allows."""
    return fit_field(params, "hidden", declare, sites, budget)
