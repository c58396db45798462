"""UniPT: every layer's states are mixed under the guidance of the last one's, and weighed by confidence."""

from collections.abc import Mapping

import torch
from studio_plugins.unipt.params import Params
from torch import Tensor
from torch.nn.functional import layer_norm, linear, relu, softmax

from studio.api import Context, Site, Tokens


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """Section 3 of the paper for transformers; y (B, T, d) is the last state, the others come from the context."""
    cast = {name: tensor.to(y.dtype) for name, tensor in tensors.items()}
    seen = _visible(ctx.tokens, y).to(y.dtype)
    mean = seen / seen.sum(-1, keepdim=True)
    guide = _project(cast, "guide", y.detach())
    read = [_project(cast, path, state.detach()) for path, state in ctx.outputs.items() if f"{path}.weight" in cast]
    mixed = torch.stack([_interact(guide, state, seen) for state in read])
    scores = [linear((mean @ guide) * (mean @ state), cast["score.weight"]) for state in read]
    joined = guide + _project(cast, "join", (softmax(torch.stack(scores), 0) * mixed).sum(0))
    change = linear(relu(joined), cast["up.weight"], cast["up.bias"])
    return y + change if params.output == "residual" else change


def _project(tensors: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """F = LayerNorm(W x + b)."""
    low = linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
    return layer_norm(low, low.shape[-1:], tensors[f"{name}.norm.weight"], tensors[f"{name}.norm.bias"])


def _interact(guide: Tensor, state: Tensor, seen: Tensor) -> Tensor:
    """(A + I) F with A = relu(F_L F^T), each row divided by its sum."""
    similar = relu(guide @ state.mT) * seen
    return (similar / similar.sum(-1, keepdim=True).clamp(min=1e-6)) @ state + state


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
