"""Memory that a device's kernels take for themselves while they run."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from studio.simulate.emulator import PARTS, Flavour

aten = torch.ops.aten
ALIGNMENT, HEADER = 256, 128  # bytes
_PRODUCTS = frozenset(
    {aten.mm.default, aten.addmm.default, aten.addmm_.default, aten.bmm.default, aten.baddbmm.default}
)

Scratch = Callable[[Any, Any], int]


def no_scratch(func: Any, out: Any) -> int:
    """Kernels that take nothing."""
    return 0


def scratch_of(flavour: Flavour) -> Scratch:
    """Bytes that an operation takes besides its output, on such a device."""
    return _wide_products if flavour.kind == "cpu" and _widens() else no_scratch


def _wide_products(func: Any, out: Any) -> int:
    """A product in half precision, summed up in a buffer of fp32 the size of one matrix."""
    if func not in _PRODUCTS or out.dtype not in (torch.bfloat16, torch.float16) or 1 in out.shape[-2:]:
        return 0
    matrix = 4 * -(-int(out.shape[-2]) // PARTS.get()) * int(out.shape[-1])
    return -(-matrix // ALIGNMENT) * ALIGNMENT + HEADER


@cache
def _widens() -> bool:
    """Whether this CPU, which lacks instructions for bf16, sums its products up in another buffer."""
    a, b = torch.ones(32, 32, dtype=torch.bfloat16), torch.ones(32, 32, dtype=torch.bfloat16)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        product: Tensor = torch.mm(a, b)
    taken = [event.nbytes() for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    return any(size > product.untyped_storage().nbytes() for size in taken)
