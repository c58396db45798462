"""Attention that drops some of its weights, for which torch has no kernel on a CPU: no weights are kept."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from studio.engine.dropout import draw_kept, mean_factor
from studio.engine.row_attention import exact_in_bf16

_NAME = "studio_dropping"
_SHARES = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")  # what configs call it


def attend_dropping(model: Any) -> None:
    """Have a model on a CPU drop attention weights in this way, if it drops any and its attention is a fused one."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation != "sdpa" or not any(getattr(model.config, name, 0.0) for name in _SHARES):
        return
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> Any:
    """What transformers calls: queries (B, heads, S, head size), keys and values (B, kv heads, K, head size)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    share = kwargs.get("dropout", 0.0)
    told = attention_mask is None or attention_mask.dtype == torch.bool
    if not share or not told or key.shape[1] != query.shape[1] or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    causal = kwargs.get("is_causal")
    if attention_mask is None and (getattr(module, "is_causal", True) if causal is None else causal):
        attention_mask = query.new_ones(query.shape[2], key.shape[2], dtype=torch.bool).tril_()
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    return dropped_attention(query, key, value, attention_mask, share, scale).transpose(1, 2).contiguous(), None


def dropped_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, share: float, scale: float
) -> Tensor:
    """Values weighted by softmax(``scale`` Q K^T), a ``share`` of the weights dropped: (B, heads, S, head size).

    Queries (B, heads, S, head size), keys and values (B, heads, K, head size); ``mask`` says which keys each query sees
    and broadcasts to (B, heads, S, K). Scores and softmax are in fp32. Kept for the backward pass: the three operands
    and a byte a weight.
    """
    return _DroppedAttention.apply(query, key, value, mask, share, scale)  # type: ignore[no-any-return,no-untyped-call]


class _DroppedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, share: float, scale: float
    ) -> Tensor:
        kept = draw_kept((*query.shape[:3], key.shape[2]), share, query.device)
        weights = _weights(query, key, mask, scale)
        out = torch.matmul(weights.mul_(kept).to(value.dtype), value).mul_(mean_factor(share))
        ctx.save_for_backward(query, key, value, mask, kept)
        ctx.share, ctx.scale = share, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, kept = ctx.saved_tensors
        weights = _weights(query, key, mask, ctx.scale)
        gradient = gradient * mean_factor(ctx.share)
        of_value = torch.matmul((weights * kept).to(value.dtype).transpose(-1, -2), gradient)
        of_weights = torch.matmul(gradient, value.transpose(-1, -2)).float().mul_(kept)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, torch.float32).to(query.dtype)
        del weights, of_weights
        of_query = torch.matmul(of_scores, key).mul_(ctx.scale)
        of_key = torch.matmul(of_scores.transpose(-1, -2), query).mul_(ctx.scale)
        return of_query, of_key, of_value, None, None, None


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    with exact_in_bf16(query.dtype):
        scores = torch.matmul(query.float(), key.float().transpose(-1, -2)).mul_(scale)
    if mask is not None:
        scores.masked_fill_(~mask, torch.finfo(torch.float32).min)
    return torch.softmax(scores, -1)
