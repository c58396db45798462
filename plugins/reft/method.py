"""LoReFT's mathematics: what a subspace holds is replaced by a linear function of the state."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.reft.params import Params
from torch import Tensor
from torch.nn.functional import linear, pad

from studio.api import Context, Place, Setup, Site, Tokens


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Start with W equal to the subspace's rows."""
    for place in places:
        place.tensors["W"].copy_(_rows(place.tensors))


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """h + R^T (W h + b - R h) at the edited tokens (equation 2)."""
    rows = _rows(tensors)
    inner = linear(y, (tensors["W"] - rows).to(y.dtype), tensors["b"].to(y.dtype))
    edit = linear(inner, rows.T.to(y.dtype))
    return y + edit * edited(params, ctx.tokens).unsqueeze(-1) if ctx.tokens else y + edit


def _rows(tensors: Mapping[str, Tensor]) -> Tensor:
    """Orthonormal rows that span what the rows of R do; orthonormal columns where R has more rows than columns."""
    wide = tensors["R"].shape[0] <= tensors["R"].shape[1]
    columns: Tensor = torch.linalg.qr(tensors["R"].T if wide else tensors["R"]).Q
    return columns.T if wide else columns


def edited(params: Params, tokens: Tokens) -> Tensor:
    """Which tokens (B, S) are among the first or the last of their sequence's prompt; the same packed or padded."""
    n, places = params.last, tokens.positions
    prompt_ahead = pad(tokens.prompt, (0, n))[:, n:] & (pad(places, (0, n))[:, n:] == places + n)
    at_an_end: Tensor = (places < params.first) | ~prompt_ahead
    return tokens.prompt & at_an_end
