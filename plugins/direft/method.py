"""DiReFT's mathematics: a low-rank edit of the state at chosen tokens."""

from collections.abc import Mapping

from studio_plugins.direft.params import Params
from torch import Tensor
from torch.nn.functional import linear, pad

from studio.api import Context, Site, Tokens


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """h + W2^T (W1 h + b) at the edited tokens (equation 3); NoReFT takes W2 h away inside."""
    source = tensors["W1"] if params.variant == "direft" else tensors["W1"] - tensors["W2"]
    inner = linear(y, source.to(y.dtype), tensors["b"].to(y.dtype))
    edit = linear(inner, tensors["W2"].T.to(y.dtype))
    return y + edit * edited(params, ctx.tokens).unsqueeze(-1) if ctx.tokens else y + edit


def edited(params: Params, tokens: Tokens) -> Tensor:
    """Which tokens (B, S) are among the first or the last of their sequence's prompt; the same packed or padded."""
    n, places = params.last, tokens.positions
    prompt_ahead = pad(tokens.prompt, (0, n))[:, n:] & (pad(places, (0, n))[:, n:] == places + n)
    at_an_end: Tensor = (places < params.first) | ~prompt_ahead
    return tokens.prompt & at_an_end
