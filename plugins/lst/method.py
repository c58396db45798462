"""LST: s_i = block_i(g_i s_(i-1) + (1 - g_i) D_i h_i), then y + U s."""

from collections.abc import Mapping

import torch
from studio_plugins.lst.params import Params
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from studio.api import Context, Site, Tokens

TEMPERATURE = 0.1


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Section 3.2 of the paper; y (B, T, d) is the last state, those of embeddings and blocks are read."""
    cast = {name: tensor.to(y.dtype) for name, tensor in tensors.items()}
    seen = _visible(ctx.tokens, y)
    side: Tensor | None = None
    for path, state in ctx.outputs.items():
        if f"{path}.down.weight" not in cast:
            continue
        rung = _linear(cast, f"{path}.down", state.detach())
        side = rung if side is None else _climb(cast, path, side, rung, seen)
    assert side is not None
    return y + _linear(cast, "up", _norm(cast, "norm", side))


def _climb(tensors: Mapping[str, Tensor], path: str, side: Tensor, rung: Tensor, seen: Tensor) -> Tensor:
    """One side block on the gated sum of what climbs and what the base model's block has put out."""
    gate = torch.sigmoid(tensors[f"{path}.gate"] / TEMPERATURE)
    state = gate * side + (1 - gate) * rung
    q, k, v = linear(_norm(tensors, f"{path}.norm1", state), tensors[f"{path}.qkv.weight"]).chunk(3, -1)
    state = state + linear(scaled_dot_product_attention(q, k, v, attn_mask=seen), tensors[f"{path}.o.weight"])
    hidden = gelu(_linear(tensors, f"{path}.fc1", _norm(tensors, f"{path}.norm2", state)))
    return state + _linear(tensors, f"{path}.fc2", hidden)


def _linear(tensors: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _norm(tensors: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _visible(tokens: Tokens | None, y: Tensor) -> Tensor:
    """Which tokens each token may read (B, T, T): those of its own sequence, itself always, no padding.

    Where the model is causal, none after it.
    """
    length = y.shape[1]
    seen = torch.ones(len(y), length, length, dtype=torch.bool, device=y.device)
    if tokens is None:
        return seen
    sequence = (tokens.positions == 0).cumsum(1)
    seen &= (sequence[:, :, None] == sequence[:, None, :]) & tokens.mask[:, None, :]
    if tokens.causal:
        seen = seen.tril()
    return seen | torch.eye(length, dtype=torch.bool, device=y.device)
