"""Attention over rows packed end to end, each row on its own: no row pays for another, nothing is padded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import handle_torch_function, has_torch_function

from studio.core.errors import BugError
from studio.engine.flow import backbone_of

_NAME = "studio_rows"
_SLOT = "studio_rows"
_MOST_WEIGHTS = 16 * 2**20  # bytes of one row's attention weights in fp32, beyond which they are not written out
_packed: ContextVar[bool] = ContextVar("packed", default=False)
_attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attend_back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attend_by_row(model: Any) -> None:
    """Have a causal model on a CPU attend to packed rows one by one, if its attention is a fused one."""
    from transformers import AttentionInterface, AttentionMaskInterface

    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, _mask)
    model.set_attn_implementation(_NAME)
    rows = _Rows()
    for module in model.modules():  # not all families hand on what a model is called with
        vars(module)[_SLOT] = rows
    backbone_of(model).register_forward_pre_hook(lambda *_: rows.begin())


def attends_by_row(model: Any) -> bool:
    """Whether ``attend_by_row`` was done and still holds."""
    return bool(model.config._attn_implementation == _NAME)


@contextmanager
def packed_rows(model: Any, lengths: Sequence[int]) -> Iterator[None]:
    """Have the call of ``model`` within, and its backward pass, keep packed rows of these lengths apart."""
    if not attends_by_row(model):
        yield
        return
    vars(model)[_SLOT].announced = tuple(lengths)
    token = _packed.set(True)
    try:
        yield
    finally:
        _packed.reset(token)


class _Rows:
    """The lengths of the rows of the pass in progress, until the next one begins; none if rows are not packed."""

    def __init__(self) -> None:
        self.lengths: tuple[int, ...] = ()
        self.announced: tuple[int, ...] = ()

    def begin(self) -> None:
        self.lengths, self.announced = self.announced, ()


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    from transformers.masking_utils import sdpa_mask

    return None if _packed.get() else sdpa_mask(*args, **kwargs)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> Any:
    """What transformers calls: queries (B, heads, S, head size), keys and values (B, kv heads, S, head size)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    rows: _Rows | None = vars(module).get(_SLOT)
    lengths = () if rows is None else rows.lengths
    if not lengths and _packed.get():
        raise BugError(f"{type(module).__name__} is not told where its rows begin")
    if not lengths:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    window = kwargs.get("sliding_window")
    if kwargs.get("dropout"):  # for which torch has no fused attention on a CPU
        mask = _apart(lengths, window, query.device)[None, None]
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)
    return row_attention(query, key, value, lengths, kwargs.get("scaling"), window), None


def row_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: tuple[int, ...],
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """Causal attention of rows of these lengths, end to end in queries (1, heads, S, head size).

    Keys and values (1, kv heads, S, head size); ``scale`` of the scores: one over the root of the head size if None;
    ``window``: how many tokens, itself included, each one sees. The result (1, S, heads, head size).
    """
    call = (query, key, value, lengths, scale or query.shape[-1] ** -0.5, window)
    if has_torch_function(call[:3]):  # a simulation looks on
        return handle_torch_function(row_attention, call[:3], *call)
    return _RowAttention.apply(*call)  # type: ignore[no-any-return,no-untyped-call]


class _RowAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], scale: float, window: int | None
    ) -> Tensor:
        out = query.new_empty(1, query.shape[2], query.shape[1], value.shape[-1])
        sums = [
            forward_row(rows_at(ends, query, key, value), rows_at(ends, out.transpose(1, 2))[0], scale, window)
            for ends in _ends(lengths)
        ]
        needed = any(of_row is not None for of_row in sums)
        ctx.save_for_backward(query, key, value, out if needed else None, *sums)
        ctx.lengths, ctx.scale, ctx.window = lengths, scale, window
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, *sums = ctx.saved_tensors
        made = [torch.empty_like(tensor) for tensor in (query, key, value)]
        for ends, of_row in zip(_ends(ctx.lengths), sums, strict=True):
            own, (of_out,) = rows_at(ends, query, key, value), rows_at(ends, gradient.transpose(1, 2))
            known = None if of_row is None else (*rows_at(ends, out.transpose(1, 2)), of_row)
            backward_row(of_out, own, known, rows_at(ends, *made), ctx.scale, ctx.window)
        return (*made, None, None, None)


def forward_row(operands: Sequence[Tensor], out: Tensor, scale: float, window: int | None) -> Tensor | None:
    """Attention of one row, its queries, keys and values given, written into ``out`` (1, heads, n, head size).

    The logarithms of the sums that the weights were divided by (1, heads, n), if the backward pass needs them.
    """
    query, key, value = operands
    if _is_written_out(query):
        weights = _weights(query, key, scale, window).to(query.dtype)
        out.copy_(torch.bmm(weights, value[0]).view(out.shape))
        return None
    mask = _hidden(query, window)
    found, sums = _attend(query, key, value, 0.0, mask is None, attn_mask=mask, scale=scale)
    out.copy_(found)
    return sums  # type: ignore[no-any-return]


def backward_row(
    gradient: Tensor,
    operands: Sequence[Tensor],
    known: Sequence[Tensor] | None,
    made: Sequence[Tensor],
    scale: float,
    window: int | None,
) -> None:
    """The gradients of one row, written into ``made``; ``known``: the result and what ``forward_row`` gave."""
    query, key, value = operands
    if known is not None:
        mask = _hidden(query, window)
        found = _attend_back(gradient, query, key, value, *known, 0.0, mask is None, attn_mask=mask, scale=scale)
    else:
        weights = _weights(query, key, scale, window)
        of_out, queries = _by_group(gradient, key), _by_group(query, key)
        of_value = torch.bmm(weights.to(query.dtype).transpose(1, 2), of_out)
        of_weights = torch.bmm(of_out, value[0].transpose(1, 2)).float()
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, torch.float32).to(query.dtype)
        of_key = torch.bmm(of_scores.transpose(1, 2), queries).mul_(scale)
        found = (torch.bmm(of_scores, key[0]).mul_(scale), of_key, of_value)
    for place, part in zip(made, found, strict=True):
        place.copy_(part.view(place.shape))


def _is_written_out(query: Tensor) -> bool:
    """Whether products of matrices beat torch's CPU kernel: in half precision, unless they no longer fit the caches.

    Scores, their softmax and its gradient are in fp32 all the same, which makes results as exact as the kernel's.
    """
    return query.dtype != torch.float32 and 4 * query.shape[1] * query.shape[2] ** 2 <= _MOST_WEIGHTS


def _weights(query: Tensor, key: Tensor, scale: float, window: int | None) -> Tensor:
    """Attention weights (kv heads, queries by head, n) in fp32."""
    seen = _apart((query.shape[2],), window, query.device)
    hidden = torch.zeros(seen.shape, device=query.device).masked_fill_(~seen, -torch.inf)
    hidden = hidden.repeat(query.shape[1] // key.shape[1], 1)
    scores = torch.baddbmm(hidden, _by_group(query.float(), key), key[0].float().transpose(1, 2), alpha=scale)
    return torch.softmax(scores, -1)


def _by_group(queries: Tensor, key: Tensor) -> Tensor:
    """(1, heads, n, size) as (kv heads, queries of all heads that share one, size)."""
    return queries.reshape(key.shape[1], -1, queries.shape[-1])


def _hidden(query: Tensor, window: int | None) -> Tensor | None:
    """What is added to the scores (n, n) of a row that is longer than the window; else None."""
    if window is None or query.shape[2] <= window:
        return None
    seen = _apart((query.shape[2],), window, query.device)
    return torch.zeros(seen.shape, dtype=query.dtype, device=query.device).masked_fill_(~seen, -torch.inf)


def _apart(lengths: Sequence[int], window: int | None, device: torch.device) -> Tensor:
    """Which tokens (S, S) each token sees: those of its own row up to itself, so many back."""
    row = torch.cat([torch.full((length,), i, device=device) for i, length in enumerate(lengths)])
    place = torch.arange(len(row), device=device)
    back = place[:, None] - place[None, :]
    seen = (row[:, None] == row[None, :]) & (back >= 0)
    return seen if window is None else seen & (back < window)


def _ends(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    return pairwise(accumulate(lengths, initial=0))


def rows_at(ends: tuple[int, int], *tensors: Tensor) -> list[Tensor]:
    """The part of each tensor (1, heads, S, size) between two tokens."""
    return [tensor[:, :, slice(*ends)] for tensor in tensors]
