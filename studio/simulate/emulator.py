"""What torch decides by device before a dispatcher sees it, decided for a device that is not there."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from studio.simulate.values import value_of

aten = torch.ops.aten
FLASH, EFFICIENT = 1, 2  # of torch.nn.attention.SDPBackend


@dataclass(frozen=True)
class Flavour:
    """The device to emulate; ``capability`` is that of its compute units, (0, 0) for a CPU."""

    kind: str = "cpu"
    capability: tuple[int, int] = (0, 0)


class Emulator(TorchFunctionMode):
    """Routes attention and dropout to the kernels that the device would run, and keeps watching in a backward pass."""

    def __init__(self, flavour: Flavour) -> None:
        super().__init__()
        self._flavour = flavour

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.backward:
            with self:
                return _engine_run_backward(
                    (args[0],), (torch.ones_like(args[0]),), False, False, (), allow_unreachable=True, accumulate_grad=True
                )
        if func is Tensor.tolist and args[0].is_meta:
            value = value_of(args[0])
            return (torch.zeros(args[0].shape, dtype=args[0].dtype) if value is None else value).tolist()
        if func is functional.scaled_dot_product_attention and args[0].is_meta:
            return _attend(self._flavour, *args, **kwargs)
        if func is functional.dropout and self._flavour.kind == "cuda" and args[0].is_meta:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)


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
    return aten.scaled_dot_product_attention(*call, scale=scale, enable_gqa=enable_gqa)  # type: ignore[no-any-return]


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
        shape = (1, tensor.shape[1], 2, tensor.shape[3])
        return torch.empty(shape, dtype=tensor.dtype, requires_grad=tensor.requires_grad)

    real_mask = None if mask is None else torch.zeros((1, 1, 2, 2), dtype=mask.dtype, requires_grad=mask.requires_grad)
    return int(
        torch._fused_sdp_choice(
            small(query), small(key), small(value), real_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    )
