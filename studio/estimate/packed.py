"""What holding the base's frozen matrices in 8 or 4 bits saves, and what unpacking them takes."""

import math
from collections.abc import Callable, Mapping

from studio.api import Site
from studio.core.spec import Quantization
from studio.estimate.inputs import EstimateInputs

FP32 = 4
BLOCK, GROUP = 64, 256  # weights that share a scale in 4 bits, and scales that share one of theirs


def base_bytes(inputs: EstimateInputs) -> int:
    """Bytes of the base as it is held."""
    whole = inputs.model.params * inputs.width
    return whole - sum(site_bytes("none", site, inputs.width) - _held(inputs, site) for site in _packed(inputs))


def site_bytes(kind: Quantization, site: Site, width: int) -> int:
    """Bytes of a site's matrix in a format, computed with in a precision of so many bytes."""
    return _BYTES[kind](math.prod(site.shape), site.d_out, width)


def unpacked_scalars(inputs: EstimateInputs) -> int:
    """Scalars that are unpacked in every pass."""
    return sum(math.prod(site.shape) for site in _packed(inputs))


def unpacking_bytes(inputs: EstimateInputs) -> int:
    """Bytes of the largest matrix that is there unpacked for a moment."""
    largest = max((math.prod(site.shape) for site in _packed(inputs)), default=0)
    return largest * inputs.width


def _held(inputs: EstimateInputs, site: Site) -> int:
    return site_bytes(inputs.quantization, site, inputs.width)


def _packed(inputs: EstimateInputs) -> tuple[Site, ...]:
    return () if inputs.quantization == "none" else tuple(inputs.packable)


def _nf4(scalars: int, _rows: int, _width: int) -> int:
    """Two weights a byte, a byte for each block's scale, four for each group's, and the scales' mean."""
    blocks = -(-scalars // BLOCK)
    return -(-scalars // 2) + blocks + FP32 * -(-blocks // GROUP) + FP32


_BYTES: Mapping[Quantization, Callable[[int, int, int], int]] = {
    "none": lambda scalars, _rows, width: scalars * width,
    "int8": lambda scalars, rows, width: scalars + rows * width,
    "nf4": _nf4,
}
