"""Frozen matrices held in 8 or 4 bits, and the linear map that unpacks them for each use."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from studio.api import Site
from studio.core.errors import UserError
from studio.core.spec import Quantization
from studio.engine.live_paths import resolve_module
from studio.models.sites import is_quantizable

BLOCK, GROUP = 64, 256  # weights that share a scale in 4 bits, and scales that share one of theirs
AT_ONCE = 2**20  # weights


def quantize_base(model: nn.Module, sites: Iterable[Site], kind: Quantization, dtype: torch.dtype) -> None:
    """Put packed maps, which unpack to ``dtype``, in place of the linear maps of all blocks, unless ``kind`` is none.

    Raises:
        UserError: the architecture has a linear map of another make.
    """
    if kind != "none":
        for path, module in quantizable_modules(model, sites).items():
            put_packed(model, path, FORMATS[kind](module, module.weight.detach(), dtype))


def quantizable_modules(model: nn.Module, sites: Iterable[Site]) -> dict[str, nn.Linear]:
    """The linear maps of all blocks by their live paths; UserError if one is of another make."""
    found = {}
    for site in filter(is_quantizable, sites):
        path, module = resolve_module(model, site.path)
        if type(module) is not nn.Linear:
            raise UserError(
                f"{path} is a {type(module).__name__}, which cannot be held in fewer bits",
                where=type(model).__name__, hint="set train.quantization to none",
            )  # fmt: skip
        found[path] = module
    return found


def put_packed(model: nn.Module, path: str, module: "QuantizedLinear") -> None:
    """Put a packed map in place of the module at a live path."""
    owner, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner), name, module)


class _Weight:
    """The weight of a packed map, made anew each time; an instance attribute of the name goes before it."""

    def __get__(self, module: "QuantizedLinear | None", owner: type) -> Any:
        return self if module is None else module.unpack()


class QuantizedLinear(nn.Linear, ABC):
    """W x + b with a frozen W (d_out, d_in) that is kept packed and has the precision ``dtype`` when unpacked.

    ``weight`` reads as a new dense tensor. Nothing of it is kept for the backward pass, which unpacks it again.
    """

    weight = _Weight()

    def __init__(self, like: nn.Linear, weight: Tensor, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.dtype = like.in_features, like.out_features, dtype
        self.register_parameter("bias", like.bias)
        with torch.no_grad():
            self.pack(weight)

    @abstractmethod
    def pack(self, weight: Tensor) -> None:
        """Keep the weight (d_out, d_in) as buffers."""

    @abstractmethod
    def unpack(self) -> Tensor:
        """The weight (d_out, d_in) as it is computed with."""

    def forward(self, input: Tensor) -> Tensor:
        if "weight" in vars(self):  # changed for this pass
            return nn.Linear.forward(self, input)
        return _FrozenLinear.apply(input, self.bias, self)  # type: ignore[no-any-return,no-untyped-call]


class Int8Linear(QuantizedLinear):
    """One scale a row, by the row's largest value (arXiv 2208.07339, section 2.1, without parts for outliers)."""

    packed: Tensor
    scale: Tensor

    def pack(self, weight: Tensor) -> None:
        scale = (weight.float().abs().amax(1, keepdim=True) / 127).to(self.dtype)
        scale = scale.masked_fill(scale == 0, 1)
        packed = (weight.float() / scale.float()).round_().clamp_(-127, 127).to(torch.int8)
        self.register_buffer("packed", packed)
        self.register_buffer("scale", scale)

    def unpack(self) -> Tensor:
        return self.packed * self.scale


class Nf4Linear(QuantizedLinear):
    """NormalFloat of 4 bits in blocks of 64, their scales in 8 bits in groups of 256 (arXiv 2305.14314, section 3)."""

    packed: Tensor
    absmax: Tensor
    nested_absmax: Tensor
    offset: Tensor

    def pack(self, weight: Tensor) -> None:
        library = _library()
        parts = torch.split(weight.reshape(-1), AT_ONCE)  # packing takes many times what is packed
        packed, states = zip(
            *(library.quantize_4bit(part, blocksize=BLOCK, quant_type="nf4") for part in parts), strict=True
        )
        scales = torch.cat([state.absmax for state in states])
        offset = scales.mean()
        absmax, nested = library.quantize_blockwise(scales - offset, code=_scale_code(scales.device), blocksize=GROUP)
        self.register_buffer("packed", torch.cat(packed))
        self.register_buffer("absmax", absmax)
        self.register_buffer("nested_absmax", nested.absmax)
        self.register_buffer("offset", offset)

    def unpack(self) -> Tensor:
        library = _library()
        nested = library.QuantState(
            absmax=self.nested_absmax, code=_scale_code(self.absmax.device), blocksize=GROUP, dtype=torch.float32
        )
        state = library.QuantState(
            absmax=self.absmax, shape=torch.Size((self.out_features, self.in_features)), dtype=self.dtype,
            blocksize=BLOCK, quant_type="nf4", offset=self.offset, state2=nested,
        )  # fmt: skip
        return library.dequantize_4bit(self.packed, state)  # type: ignore[no-any-return]


FORMATS: dict[Quantization, type[QuantizedLinear]] = {"int8": Int8Linear, "nf4": Nf4Linear}


@cache
def _library() -> Any:
    """The kernels for 4 bits; imported when first needed, which takes seconds."""
    try:
        from bitsandbytes import functional
    except ImportError as error:
        raise UserError(
            f"4-bit weights need bitsandbytes: {error}",
            hint="pip install bitsandbytes, or set train.quantization to int8",
        ) from error
    return functional


@cache
def _scale_code(device: torch.device) -> Tensor:
    """The 256 values that a block's scale is one of (arXiv 2110.02861, section 1.3)."""
    return _library().create_dynamic_map().to(device)  # type: ignore[no-any-return]


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, module: QuantizedLinear) -> Tensor:
        ctx.module = module
        return linear(x, module.unpack(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_bias, _ = ctx.needs_input_grad
        return (
            gradient @ ctx.module.unpack() if of_x else None,
            gradient.flatten(0, -2).sum(0) if of_bias else None,
            None,
        )
