"""Intrinsic dimension: every tensor moves by its own Fastfood projection of the shared coordinates.

Le et al., Fastfood: Approximate Kernel Expansions in Loglinear Time, 2014, arXiv 1408.3060. The projection is never
stored but made again from the tensor's name; its randomness is integer arithmetic, the same on every device.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from studio_plugins.intrinsic_said.params import Params
from torch import Tensor
from torch.nn.functional import pad

from studio.api import Site

MASK = 0xFFFFFFFF


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """theta_0 + lambda P(theta_d) for the weight and for the bias (equation 3)."""

    def moved(name: str, base: Tensor) -> Tensor:
        key = f"{params.seed}:{site.path}.{name}"
        change: Tensor = Fastfood.apply(tensors["theta"], base.numel(), key)
        return base + tensors.get(name, 1.0) * change.view_as(base)

    return moved("weight", weight), None if bias is None else moved("bias", bias)


class Fastfood(torch.autograd.Function):
    """P(theta): n numbers from d by signs, Hadamard, permutation, Gaussian factors, Hadamard; nearly norm-preserving.

    q is the next power of two from n; where d exceeds q, chunks of q with signs of their own are added up.
    """

    @staticmethod
    def forward(ctx: Any, theta: Tensor, n: int, name: str) -> Tensor:
        """The projection (n,) of theta (d,)."""
        ctx.sizes = len(theta), n, name
        signs, order, gauss, norm = _draw(theta, n, name)
        folded = (pad(theta, (0, signs.numel() - len(theta))).view_as(signs) * signs).sum(0)
        return hadamard(hadamard(folded)[order] * gauss)[:n] / norm

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """The transposed map: the same steps from last to first."""
        d, n, name = ctx.sizes
        signs, order, gauss, norm = _draw(grads[0].new_empty(d), n, name)
        mixed = hadamard(pad(grads[0] / norm, (0, len(gauss) - n))) * gauss
        folded = hadamard(torch.empty_like(mixed).scatter_(0, order, mixed))
        return (folded * signs).flatten()[:d], None, None


def hadamard(x: Tensor) -> Tensor:
    """The Walsh-Hadamard transform of x, whose length is a power of two, without normalisation."""
    width = 1
    while width < len(x):
        pairs = x.view(-1, 2, width)
        x = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), dim=1).flatten()
        width *= 2
    return x


def _draw(theta: Tensor, n: int, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Signs (chunks, q), permutation (q,), Gaussian factors (q,) and the norm to divide by, from the name alone."""
    q = 1 << (n - 1).bit_length()
    chunks = math.ceil(len(theta) / q)
    keys = _keys(name)
    places = torch.arange(chunks * q, device=theta.device)
    signs = 1 - 2 * (_bits(places, next(keys)) & 1).to(theta.dtype).view(chunks, q)
    first, second = ((_bits(places[:q], next(keys)) + 0.5).to(theta.dtype) / 2**32 for _ in range(2))
    gauss = (-2 * first.log()).sqrt() * (2 * math.pi * second).cos()
    return signs, _permuted(places[:q], keys), gauss, (n * gauss.square().sum()).sqrt()


def _keys(name: str) -> Iterator[int]:
    """Numbers of 32 bits without end, from a name: its FNV-1a hash, then a linear congruential sequence."""
    state = 0xCBF29CE484222325
    for letter in name:
        state = ((state ^ ord(letter)) * 0x100000001B3) % 2**64
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 32


def _bits(places: Tensor, key: int) -> Tensor:
    """32 random bits for each place: two rounds of an integer hash around a key."""
    return _mixed(_mixed(places) ^ key)


def _mixed(x: Tensor) -> Tensor:
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & MASK
    return x ^ (x >> 16)


def _permuted(places: Tensor, keys: Iterator[int]) -> Tensor:
    """The places in a drawn order: odd multiples, shifts and folds are bijections of 0 ... q - 1."""
    q = len(places)
    for _ in range(3):
        places = (places * (next(keys) % q | 1) + next(keys) % q) & (q - 1)
        places = places ^ (places >> max(1, q.bit_length() // 2))
    return places
