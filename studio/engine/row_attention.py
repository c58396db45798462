"""Attention over rows packed end to end, each row on its own: no row pays for another, nothing is padded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import handle_torch_function, has_torch_function

from studio.core.attention import MOST_WASTE, MOST_WEIGHTS, rows_together
from studio.core.errors import BugError
from studio.engine.flow import backbone_of

_NAME = "studio_rows"
_SLOT = "studio_rows"
_packed: ContextVar[bool] = ContextVar("packed", default=False)
_attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attend_back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attend_by_row(model: Any) -> None:
    """Have a causal model on a CPU attend to packed rows a few at a time, if its attention is a fused one."""
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
        ctx.groups = grouped(lengths, query)
        sums = [forward_rows(rows, (query, key, value), out, scale, window) for rows in ctx.groups]
        needed = any(of_rows is not None for of_rows in sums)
        ctx.save_for_backward(query, key, value, out if needed else None, *sums)
        ctx.scale, ctx.window = scale, window
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, *sums = ctx.saved_tensors
        operands = query, key, value
        made = [torch.empty_like(tensor) for tensor in operands]
        for rows, of_rows in zip(ctx.groups, sums, strict=True):
            known = None if of_rows is None else (out, of_rows)
            backward_rows(rows, gradient, operands, known, made, ctx.scale, ctx.window)
        return (*made, None, None, None)


class RowGroup(NamedTuple):
    """Neighbours among packed rows that are attended to together, those shorter than the longest filled up."""

    start: int  # of their tokens
    lengths: tuple[int, ...]

    @property
    def width(self) -> int:
        return max(self.lengths)

    @property
    def tokens(self) -> slice:
        return slice(self.start, self.start + sum(self.lengths))

    def taken_from(self, tensor: Tensor) -> Tensor:
        """These rows of (1, heads, S, size) as (n, heads, width, size), filled up with their last token."""
        own = tensor[0, :, self.tokens]
        if self._is_even:
            return own.view(len(own), -1, self.width, own.shape[-1]).transpose(0, 1)
        filled = own.transpose(0, 1).index_select(0, _sources(self.lengths).to(tensor.device))
        return filled.view(-1, self.width, *filled.shape[1:]).transpose(1, 2)

    def gradient_of(self, tensor: Tensor) -> Tensor:
        """The same of a gradient by (1, S, heads, size): nothing comes from what was filled up."""
        taken = self.taken_from(tensor.transpose(1, 2))
        return taken if self._is_even else taken.masked_fill_(_filled(self.lengths).to(tensor.device), 0.0)

    def put_into(self, tensor: Tensor, found: Tensor) -> None:
        """Write (n, heads, width, size) where these rows are in (1, heads, S, size)."""
        own = tensor[0, :, self.tokens]
        if self._is_even:
            own.view(len(own), *found.shape[::2], -1).copy_(found.transpose(0, 1))
        else:
            every = found.transpose(1, 2).flatten(0, 1)
            own.transpose(0, 1).copy_(every.index_select(0, _places(self.lengths).to(tensor.device)))

    @property
    def _is_even(self) -> bool:
        return min(self.lengths) == self.width


def grouped(lengths: Sequence[int], query: Tensor) -> list[RowGroup]:
    """Rows of these lengths as they are attended to: together where weights are written out, else one by one."""
    if not is_written_out(query, max(lengths)):
        return [RowGroup(start, (end - start,)) for start, end in pairwise(accumulate(lengths, initial=0))]
    groups = [RowGroup(0, ())]
    for length in lengths:
        last = groups[-1]
        more = (*last.lengths, length)
        if len(more) > rows_together(max(more), query.shape[1]) or _waste(more) > MOST_WASTE:
            groups.append(RowGroup(last.tokens.stop, (length,)))
        else:
            groups[-1] = last._replace(lengths=more)
    return groups


def _waste(lengths: Sequence[int]) -> float:
    """How many times the weights of these rows are computed if each row is as long as the longest."""
    return len(lengths) * max(lengths) ** 2 / sum(length**2 for length in lengths)


def forward_rows(
    rows: RowGroup, operands: Sequence[Tensor], out: Tensor, scale: float, window: int | None
) -> Tensor | None:
    """Attention of some rows, of all queries, keys and values, written into ``out`` (1, S, heads, head size).

    The logarithms of the sums that the weights were divided by (n, heads, width), if the backward pass needs them.
    """
    query, key, value = map(rows.taken_from, operands)
    mask = _hidden(query, window)
    found, sums = _attend(query, key, value, 0.0, mask is None, attn_mask=mask, scale=scale)
    rows.put_into(out.transpose(1, 2), found)
    return None if is_written_out(query, rows.width) else sums


def backward_rows(
    rows: RowGroup,
    gradient: Tensor,
    operands: Sequence[Tensor],
    known: tuple[Tensor, Tensor] | None,
    made: Sequence[Tensor],
    scale: float,
    window: int | None,
) -> None:
    """The gradients of some rows, written into ``made``; ``known``: the result and what ``forward_rows`` gave."""
    query, key, value = map(rows.taken_from, operands)
    of_found = rows.gradient_of(gradient)
    found: Sequence[Tensor]
    if known is not None:
        out, sums = known
        mask, given = _hidden(query, window), (rows.taken_from(out.transpose(1, 2)), sums)
        found = _attend_back(of_found, query, key, value, *given, 0.0, mask is None, attn_mask=mask, scale=scale)
    else:
        weights = _weights(query, key, scale, window)
        of_out = _by_group(of_found, key)
        of_value = torch.bmm(weights.to(query.dtype).transpose(1, 2), of_out)
        of_weights = torch.bmm(of_out, _by_group(value, key).transpose(1, 2)).float()
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, torch.float32)
        del weights, of_weights
        of_scores = of_scores.to(query.dtype)
        queries, keys = _by_group(query, key), _by_group(key, key)
        of_query = torch.baddbmm(torch.empty_like(queries), of_scores, keys, beta=0, alpha=scale)
        of_key = torch.baddbmm(torch.empty_like(keys), of_scores.transpose(1, 2), queries, beta=0, alpha=scale)
        found = of_query, of_key, of_value
    for place, part, like in zip(made, found, (query, key, value), strict=True):
        rows.put_into(place, part.view(like.shape))


def is_written_out(query: Tensor, width: int) -> bool:
    """Whether the weights are written out for the backward pass, where products beat torch's kernel: in half precision,
    unless they no longer fit the caches.

    Scores, their softmax and its gradient are in fp32 all the same, which makes results as exact as the kernel's.
    """
    return query.dtype != torch.float32 and 4 * query.shape[1] * width**2 <= MOST_WEIGHTS


def _weights(query: Tensor, key: Tensor, scale: float, window: int | None) -> Tensor:
    """Attention weights (n kv heads, queries by head, width) in fp32."""
    width = query.shape[2]
    hidden = query.new_full((width, width), -torch.inf, dtype=torch.float32).triu_(1)
    if window is not None and window < width:
        hidden += torch.full_like(hidden, -torch.inf).tril_(-window)
    queries, keys = _by_group(query, key, torch.float32), _by_group(key, key, torch.float32)
    with exact_in_bf16(query.dtype):
        scores = torch.bmm(queries, keys.transpose(1, 2))
    by_head = scores.view(-1, width, width)
    torch.add(hidden, by_head, alpha=scale, out=by_head)
    return torch.softmax(scores, -1)


@contextmanager
def exact_in_bf16(dtype: torch.dtype) -> Iterator[None]:
    """Products in fp32 of what was ``dtype``: rounding bf16 to bf16 changes nothing, and CPUs multiply it faster."""
    if dtype != torch.bfloat16:
        yield
        return
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, products.fp32_precision = products.fp32_precision, "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before


def _by_group(tensor: Tensor, key: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """(n, heads, width, size) as (n kv heads, queries of all heads that share one, size), laid out in that order."""
    ordered = tensor.to(dtype or tensor.dtype, memory_format=torch.contiguous_format)
    return ordered.reshape(len(key) * key.shape[1], -1, tensor.shape[-1])


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


@lru_cache(maxsize=256)
def _sources(lengths: tuple[int, ...]) -> Tensor:
    """For each place of rows filled up to the longest, end to end, the token that goes there."""
    ends = torch.tensor(lengths).cumsum(0)
    places = torch.arange(max(lengths)) + (ends - torch.tensor(lengths)).unsqueeze(-1)
    return torch.minimum(places, ends.unsqueeze(-1) - 1).flatten()


@lru_cache(maxsize=256)
def _places(lengths: tuple[int, ...]) -> Tensor:
    """For each token of rows filled up to the longest, end to end, its place."""
    return (~_filled(lengths)[:, 0, :, 0]).flatten().nonzero().squeeze(-1)


@lru_cache(maxsize=256)
def _filled(lengths: tuple[int, ...]) -> Tensor:
    """Which places of rows (n, 1, width, 1) are filled up."""
    return (torch.arange(max(lengths)) >= torch.tensor(lengths).unsqueeze(-1))[:, None, :, None]
