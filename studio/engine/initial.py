"""Starting values of declared tensors, drawn from the run's seed and the tensor's own name."""

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor

from studio.api import ParamDecl

_DTYPES = {"float32": torch.float32, "int64": torch.int64, "int32": torch.int32, "bool": torch.bool}


def seeded(seed: int, key: str) -> torch.Generator:
    """A CPU generator that depends on the seed and a tensor's name alone."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def initial_value(decl: ParamDecl, generator: torch.Generator, device: torch.device) -> Tensor:
    """The starting value of a declared tensor; drawn on the CPU, so the same on every device.

    On the meta device, where there are no values, nothing is drawn.

    Raises:
        ValueError, IndexError: there is no such start, or not for this shape.
    """
    name, _, argument = decl.init.partition(":")
    shape = decl.shape
    makers: dict[str, Callable[[], Tensor]] = {
        "zeros": lambda: torch.zeros(shape),
        "ones": lambda: torch.ones(shape),
        "constant": lambda: torch.full(shape, float(argument)),
        "eye": lambda: torch.eye(shape[-2], shape[-1]).expand(shape).clone(),
        "normal": lambda: torch.randn(shape, generator=generator) * float(argument or 0.02),
        # kaiming_uniform_ with a = sqrt(5): bound = 1 / sqrt(fan_in)
        "kaiming": lambda: _uniform(shape, 1 / math.sqrt(shape[-1]), generator),
        "uniform": lambda: _uniform(shape, float(argument), generator),
        "signs": lambda: torch.randint(0, 2, shape, generator=generator) * 2.0 - 1,
    }
    if name not in makers:
        raise ValueError(f"unknown init {decl.init!r}")
    if device.type == "meta":
        return torch.empty(shape, dtype=_DTYPES[decl.dtype], device=device)
    return makers[name]().to(_DTYPES[decl.dtype]).to(device)


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound
