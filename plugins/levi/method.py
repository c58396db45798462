"""LEVI: the small model reads the tokens, the adapting layers change the last block's output."""

from collections.abc import Mapping
from itertools import takewhile

import torch
from studio_plugins.levi.params import Params
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention

from studio.api import Context, Site

VIEW = "view"


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """At the embedding: note the small model's view. At the last block: y + the mean of the adapting layers."""
    own = {name: tensor.to(y.dtype) for name, tensor in tensors.items()}
    if site.kind == "embedding":
        ctx.memory[VIEW] = _view(params, own, x, ctx)
        return y
    view = ctx.memory[VIEW][:, None].expand(-1, y.shape[1], -1)
    before = takewhile(lambda path: path != site.path, ctx.outputs)
    states = [*(ctx.outputs[path] for path in before), y]
    count = len(own["in.weight"])
    chosen = [states[(i + 1) * len(states) // count - 1] for i in range(count)]
    joined = torch.stack([torch.cat([state, view], dim=-1) for state in chosen])
    hidden = torch.einsum("vbsi,vhi->vbsh", joined, own["in.weight"]) + own["in.bias"][:, None, None]
    changes = torch.einsum("vbsh,voh->vbso", hidden.relu(), own["out.weight"]) + own["out.bias"][:, None, None]
    return y + changes.mean(0)


def _view(params: Params, own: Mapping[str, Tensor], ids: Tensor, ctx: Context) -> Tensor:
    """The small model's mean over the tokens of every row: (B, S) -> (B, width)."""
    mask = torch.ones_like(ids, dtype=torch.bool) if ctx.tokens is None else ctx.tokens.mask
    states = embedding(ids, own["table"])
    states = states + _positions(ids.shape[1], states)
    for block in range(params.depth):
        q, k, v = linear(_normed(states), own[f"{block}.qkv"]).chunk(3, dim=-1)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        states = states + linear(mixed, own[f"{block}.o"])
        states = states + linear(gelu(linear(_normed(states), own[f"{block}.up"])), own[f"{block}.down"])
    counted = mask.to(states.dtype).unsqueeze(-1)
    return (_normed(states) * counted).sum(1) / counted.sum(1).clamp_min(1)


def _normed(states: Tensor) -> Tensor:
    return layer_norm(states, states.shape[-1:])


def _positions(length: int, like: Tensor) -> Tensor:
    """Sines and cosines of each place (S, width)."""
    width = like.shape[-1]
    rates = 10_000.0 ** -(torch.arange(0, width, 2, device=like.device) / width)
    angles = torch.arange(length, device=like.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width].to(like.dtype)
