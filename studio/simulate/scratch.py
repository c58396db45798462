"""Memory that a device's kernels take for themselves while they run."""

from collections.abc import Callable
from functools import cache, reduce
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from studio.simulate.emulator import PARTS, Flavour

aten = torch.ops.aten
ALIGNMENT, HEADER = 256, 128  # bytes
LARGEST = 1024  # rows and columns of a product that is tried: what a kernel packs at a time does not grow with more
_PRODUCTS = frozenset(
    {aten.mm.default, aten.addmm.default, aten.addmm_.default, aten.bmm.default, aten.baddbmm.default}
)
_MASKED = frozenset({aten.where.self, aten.masked_fill.Scalar, aten.masked_fill_.Scalar})

Scratch = Callable[[Any, Any, Any], int | None]
_Form = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


def no_scratch(func: Any, args: Any, out: Any) -> None:
    """Kernels that take nothing."""


def scratch_of(flavour: Flavour) -> Scratch:
    """Bytes that an operation takes besides its output, on such a device; None if it never does."""
    return _of_cpu if flavour.kind == "cpu" else no_scratch


def _of_cpu(func: Any, args: Any, out: Any) -> int | None:
    if func in _PRODUCTS:
        return _of_product(func, args, out)
    return _of_promotion(func, args, out) if torch.Tag.pointwise in func.tags else None


def _of_promotion(func: Any, args: Any, out: Any) -> int | None:
    """Operands of unlike precision are copied into the common one first, and so is what is written in place."""
    changed = [arg for arg in args if isinstance(arg, Tensor) and (func not in _MASKED or arg.dtype != torch.bool)]
    if not isinstance(out, Tensor) or all(arg.dtype == changed[0].dtype for arg in changed):
        return None
    common = reduce(torch.promote_types, {arg.dtype for arg in changed if arg.dim()})
    if any(arg is out for arg in changed):
        changed.append(out)
    return sum(arg.numel() * common.itemsize for arg in changed if arg.dtype != common) or None


def _of_product(func: Any, args: Any, out: Any) -> int | None:
    """Products in half precision: summed up in a buffer of fp32, or by kernels that pack what they multiply."""
    if out.dtype not in (torch.bfloat16, torch.float16) or 1 in out.shape[-2:]:
        return None
    if not _widens():
        return _tried(func, tuple(_form(arg) for arg in args if isinstance(arg, Tensor)))
    matrix = 4 * -(-int(out.shape[-2]) // PARTS.get()) * int(out.shape[-1])
    return -(-matrix // ALIGNMENT) * ALIGNMENT + HEADER


def _form(tensor: Tensor) -> _Form:
    """Shape, order in memory and precision of an operand, no dimension longer than is tried."""
    shape = tuple(min(int(size), LARGEST) for size in tensor.shape)
    given: tuple[int, ...] = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda axis: -given[axis])
    strides, step = [0] * tensor.dim(), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return shape, tuple(strides), tensor.dtype


@cache
def _tried(func: Any, operands: tuple[_Form, ...]) -> int:
    """What such a product takes here."""
    real = [torch.empty_strided(shape, strides, dtype=dtype).zero_() for shape, strides, dtype in operands]
    return _taken(lambda: func(*real), kept=0 if func is aten.addmm_.default else 1)


def _taken(product: Callable[[], Tensor], *, kept: int = 1) -> int:
    """Bytes at most that a product holds besides its output, of which it makes ``kept``."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        out = product()
    held = highest = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    return highest - kept * out.untyped_storage().nbytes()


@cache
def _widens() -> bool:
    """Whether this CPU, which lacks instructions for bf16, sums its products up in a buffer of fp32 of their size."""
    a = torch.ones(256, 64, dtype=torch.bfloat16)
    return _taken(lambda: torch.mm(a, a.T)) >= 4 * 256 * 256
