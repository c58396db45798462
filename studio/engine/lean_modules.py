"""Norms, gated feed-forwards and dropout that keep less for their backward pass and take fewer steps."""

from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import dropout, silu

from studio.engine.dropout import drop


def make_lean(model: nn.Module, *, on_cpu: bool) -> None:
    """Have every module whose ``forward`` is known by its code compute in one step of the graph, at the same result.

    Dropout only on a CPU, where torch is slow at it; it chooses other entries.
    """
    known = _known()
    if on_cpu:
        known[_shape(nn.Dropout.forward.__code__)] = _dropout
    for module in model.modules():
        forward = type(module).forward
        lean = known.get(_shape(forward.__code__)) if isinstance(forward, FunctionType) else None
        if lean is not None:
            vars(module)["forward"] = MethodType(lean, module)


def _known() -> dict[Any, Callable[..., Tensor]]:
    """What stands for the modules that transformers writes out alike in many families, by their code."""
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
    from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
    from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm

    written_out: dict[type[nn.Module], Callable[..., Tensor]] = {
        LlamaRMSNorm: _llama_norm, Olmo2RMSNorm: _olmo_norm, GemmaRMSNorm: _gemma_norm, LlamaMLP: _gated,
    }  # fmt: skip
    return {_shape(module.forward.__code__): lean for module, lean in written_out.items()}


def _shape(code: CodeType) -> tuple[Any, ...]:
    """What code does: equal for two functions that differ in the names of their local variables at most."""
    return code.co_code, code.co_names, code.co_consts


def _llama_norm(self: Any, x: Tensor) -> Tensor:
    return rms_norm(x, self.weight, self.variance_epsilon)


def _olmo_norm(self: Any, x: Tensor) -> Tensor:
    return rms_norm(x, self.weight, self.variance_epsilon, rounded=False)


def _gemma_norm(self: Any, x: Tensor) -> Tensor:
    return rms_norm(x, 1.0 + self.weight.float(), self.eps, rounded=False)


def _gated(self: Any, x: Tensor) -> Tensor:
    gate, up = self.gate_proj(x), self.up_proj(x)
    return self.down_proj(swiglu(gate, up) if _is_silu(self.act_fn) else self.act_fn(gate) * up)  # type: ignore[no-any-return]


def _dropout(self: Any, x: Tensor) -> Tensor:
    if self.training and self.p and not self.inplace:
        return drop(x, self.p)
    return dropout(x, self.p, self.training, self.inplace)


def _is_silu(activation: nn.Module) -> bool:
    from transformers.activations import SiLUActivation

    return isinstance(activation, nn.SiLU | SiLUActivation)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float, *, rounded: bool = True) -> Tensor:
    """``x`` (..., d) over the root of its mean square (arXiv 1910.07467, equation 4), times ``weight`` (d,).

    Computed in fp32. ``rounded``: the normalised values take the precision of ``x`` before the weight, not after it.
    Kept for the backward pass: ``x`` as it is.
    """
    return _RmsNorm.apply(x, weight, epsilon, rounded)  # type: ignore[no-any-return,no-untyped-call]


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float, rounded: bool) -> Tensor:
        wide = x.float()
        factor = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()  # as written out, to the last bit
        normed = wide * factor if wide is x else wide.mul_(factor)
        ctx.save_for_backward(x, weight, factor)
        return normed.to(x.dtype).mul_(weight) if rounded else normed.mul_(weight).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, factor = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (gradient * (x * factor).to(gradient.dtype)).flatten(0, -2).sum(0).to(weight.dtype)
        if ctx.needs_input_grad[0]:
            of_normed = (gradient * weight).float()
            wide = x.float()
            along = torch.linalg.vecdot(of_normed, wide).unsqueeze(-1).mul_(factor.square()).div_(-x.shape[-1])
            of_x = of_normed.addcmul_(wide, along).mul_(factor).to(x.dtype)
        return of_x, of_weight, None, None


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """SiLU(``gate``) times ``up`` (arXiv 2002.05202, equation 6), both (..., d); only those are kept."""
    return _SwiGlu.apply(gate, up)  # type: ignore[no-any-return,no-untyped-call]


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        of_up = silu(gate).mul_(gradient)
        of_gate = gradient * up
        return torch.ops.aten.silu_backward(of_gate, gate, grad_input=of_gate), of_up
