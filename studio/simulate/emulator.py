"""What torch decides by device before a dispatcher sees it, decided for a device that is not there."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from studio.core.attention import rows_together
from studio.engine.chunked_loss import (
    chunked_cross_entropy,
    loss_of_some,
    scores_in_parts,
    scores_of_some,
    targets_at_once,
)
from studio.engine.row_attention import backward_rows, forward_rows, grouped, is_written_out, row_attention
from studio.simulate.values import value_of

aten = torch.ops.aten
REPEATS: ContextVar[float] = ContextVar("repeats", default=1.0)  # how often what is computed once is done
# what is made now is for some rows at a time: how many times those that there are it could be for
MOST: ContextVar[float] = ContextVar("most", default=math.inf)
PARTS: ContextVar[int] = ContextVar("parts", default=1)  # kernels that a product is computed by, one after the other
FLASH = 1  # of torch.nn.attention.SDPBackend
LARGEST_HEAD, AMPERE = 256, (8, 0)


@dataclass(frozen=True)
class Flavour:
    """The device to emulate; ``capability`` is that of its compute units, (0, 0) for a CPU."""

    kind: str = "cpu"
    capability: tuple[int, int] = (0, 0)


class Emulator(TorchFunctionMode):
    """Routes attention and dropout to the kernels that the device would run, and keeps watching in a backward pass."""

    def __init__(self, flavour: Flavour, *, on_backward: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._flavour = flavour
        self._on_backward = on_backward

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.backward:
            self._on_backward()
            with self:
                return _engine_run_backward(
                    (args[0],),
                    (torch.ones_like(args[0]),),
                    False,
                    False,
                    (),
                    allow_unreachable=True,
                    accumulate_grad=True,
                )
        if func is Tensor.tolist and args[0].is_meta:
            value = value_of(args[0])
            return (torch.zeros(args[0].shape, dtype=args[0].dtype) if value is None else value).tolist()
        if func is functional.scaled_dot_product_attention and args[0].is_meta:
            return _attend(self._flavour, *args, **kwargs)
        computed_once = _COMPUTED_ONCE.get(func.__name__)
        if computed_once is not None and args[0].is_meta:
            return computed_once(self._flavour.kind, *args)
        if func is functional.dropout and self._flavour.kind == "cuda" and args[0].is_meta:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)


class _Grouped(torch.autograd.Function):
    """Rows (S, d_in) sorted by expert through weights (E, d_in, d_out): every row meets one, all have as many."""

    @staticmethod
    def forward(ctx: Any, _: str, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows if ctx.needs_input_grad[2] else None, weights)
        return _by_expert(len(weights), rows, weights[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weights = ctx.saved_tensors
        of_rows = _by_expert(len(weights), gradient, weights[0].T) if ctx.needs_input_grad[1] else None
        of_weights = None
        if ctx.needs_input_grad[2]:
            of_weights = torch.empty_like(weights)
            _by_expert(len(weights), rows.T, gradient)
        return None, of_rows, of_weights


class _ByRow(torch.autograd.Function):
    """``row_attention`` of rows of one length, of which only the first few are computed: the others follow them."""

    @staticmethod
    def forward(
        ctx: Any,
        _: str,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        lengths: tuple[int, ...],
        scale: float,
        window: int | None,
    ) -> Tensor:
        out = query.new_empty(1, query.shape[2], query.shape[1], value.shape[-1])
        ctx.first = first = grouped(lengths, query)[0]
        most = rows_together(first.width, query.shape[1]) if is_written_out(query, first.width) else 1
        ctx.repeated = len(lengths) / len(first.lengths), most / len(lengths)
        with _repeated(*ctx.repeated):
            sums = forward_rows(first, (query, key, value), out, scale, window)
        every = None if sums is None else sums.new_empty(query.shape[1], query.shape[2])
        ctx.save_for_backward(query, key, value, None if sums is None else out, every)
        ctx.scale, ctx.window = scale, window
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *operands, out, sums = ctx.saved_tensors
        made = [torch.empty_like(tensor) for tensor in operands]
        with _repeated(*ctx.repeated):
            known = None if out is None else (out, sums[None, :, ctx.first.tokens])
            backward_rows(ctx.first, gradient, operands, known, made, ctx.scale, ctx.window)
        return (None, *made, None, None, None)


class _ByPart(torch.autograd.Function):
    """``chunked_cross_entropy``, of which only the first part is computed: the others follow one by one."""

    @staticmethod
    def forward(ctx: Any, kind: str, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        made = torch.empty_like(hidden)
        total = hidden.new_zeros((), dtype=torch.float32)
        most = targets_at_once(len(weight), kind)
        size = min(most, len(targets))
        with _repeated(-(-len(targets) // size), most / len(targets)):
            total += loss_of_some(hidden[:size], weight, bias, targets[:size], made[:size])
        ctx.save_for_backward(made)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (made,) = ctx.saved_tensors
        return None, (made.float() * gradient).to(made.dtype), None, None, None


def _scores(kind: str, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    """``scores_in_parts``, in the same way."""
    total = hidden.new_zeros((), dtype=torch.float32)
    found = torch.empty_like(targets)
    most = targets_at_once(len(weight), kind)
    size = min(most, len(targets))
    with _repeated(-(-len(targets) // size), most / len(targets)):
        loss, found[:size] = scores_of_some(hidden[:size], weight, bias, targets[:size])
        total += loss
    return total, found


@contextmanager
def _repeated(times: float, most: float) -> Iterator[None]:
    repeats, limit = REPEATS.set(times), MOST.set(most)
    try:
        yield
    finally:
        REPEATS.reset(repeats)
        MOST.reset(limit)


def _by_expert(experts: int, left: Tensor, right: Tensor) -> Tensor:
    """The product for all experts, each in a kernel of its own."""
    token = PARTS.set(experts)
    try:
        return left @ right
    finally:
        PARTS.reset(token)


_COMPUTED_ONCE: dict[str, Callable[..., Any]] = {
    row_attention.__name__: _ByRow.apply, chunked_cross_entropy.__name__: _ByPart.apply,
    scores_in_parts.__name__: _scores, "grouped_mm": _Grouped.apply, "_grouped_mm": _Grouped.apply,
}  # fmt: skip


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """CUDA draws the mask and scales in one kernel that keeps one byte an element."""
    if not training or p == 0.0:
        return x
    out: Tensor = torch.native_dropout(x, p, True)[0]
    return out


def _attend(
    flavour: Flavour,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    call = (query, key, value, attn_mask, dropout_p, is_causal)
    if flavour.kind == "cpu" and _cpu_choice(*call, scale=scale, enable_gqa=enable_gqa) == FLASH:
        mask = _as_bias(attn_mask, query)
        out: Tensor = aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale
        )[0]
        return out
    if flavour.kind == "cuda":
        return _attend_on_cuda(flavour, *call, scale=scale, enable_gqa=enable_gqa)
    return aten.scaled_dot_product_attention(*call, scale=scale, enable_gqa=enable_gqa)  # type: ignore[no-any-return]


def _attend_on_cuda(
    flavour: Flavour,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    *,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor:
    """The kernel that torch prefers: flash without a mask, memory-efficient with one, else plain mathematics.

    Torch 2.13, aten/src/ATen/native/transformers/cuda/sdp_utils.cpp: flash needs half precision, compute capability
    8.0 and heads of at most 256; the memory-efficient kernel takes any floating point but no grouped heads, and a
    mask whose rows are padded to 16.
    """
    half = query.dtype in (torch.float16, torch.bfloat16)
    same_heads = query.shape[-1] == value.shape[-1]
    if mask is None and half and same_heads and query.shape[-1] <= LARGEST_HEAD and flavour.capability >= AMPERE:
        out: Tensor = aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )[0]
        return out
    if query.dim() == 4 and query.shape[1] == key.shape[1]:
        bias = _padded(_as_bias(mask, query), query, key)
        trains = any(tensor.requires_grad for tensor in (query, key, value))
        found: Tensor = aten._scaled_dot_product_efficient_attention(
            query, key, value, bias, trains, dropout_p, is_causal, scale=scale
        )[0]
        return found
    return aten.scaled_dot_product_attention(  # type: ignore[no-any-return]
        query, key, value, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


def _padded(bias: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
    """The bias for every head (B, H, S, K), its rows laid out at multiples of 16 elements."""
    if bias is None:
        return None
    length = key.shape[2]
    if length % 16:
        bias = functional.pad(bias, (0, 16 - length % 16))[..., :length]
    return bias.expand(query.shape[0], query.shape[1], query.shape[2], length)


def _as_bias(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask of booleans is turned into one that is added."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask.logical_not(), -torch.inf)


def _cpu_choice(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    *,
    scale: float | None,
    enable_gqa: bool,
) -> int:
    """Torch's own choice, asked with small real tensors of the same kind."""

    def small(tensor: Tensor) -> Tensor:
        shape = (*(1 for _ in tensor.shape[:-3]), *tensor.shape[-3:-2], 2, tensor.shape[-1])
        return torch.empty(shape, dtype=tensor.dtype, requires_grad=tensor.requires_grad)

    real_mask = (
        None
        if mask is None
        else torch.zeros((*(1 for _ in mask.shape[:-2]), 2, 2), dtype=mask.dtype, requires_grad=mask.requires_grad)
    )
    return int(
        torch._fused_sdp_choice(
            small(query), small(key), small(value), real_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    )
