"""Fastfood: a random linear map of few numbers to many, never stored, made again from a name whenever it is used.

Le et al., Fastfood: Approximate Kernel Expansions in Loglinear Time, 2014. All randomness is integer arithmetic on the
entries' numbers, so that it is the same on every device.
"""

import math
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

MASK = 0xFFFFFFFF


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
    random = Random(name)
    places = torch.arange(chunks * q, device=theta.device)
    signs = 1 - 2 * (_bits(places, random) & 1).to(theta.dtype).view(chunks, q)
    first, second = ((_bits(places[:q], random) + 0.5).to(theta.dtype) / 2**32 for _ in range(2))
    gauss = (-2 * first.log()).sqrt() * (2 * math.pi * second).cos()
    return signs, _permuted(places[:q], random), gauss, (n * gauss.square().sum()).sqrt()


def _bits(places: Tensor, random: Random) -> Tensor:
    """32 random bits for each place: two rounds of an integer hash around a drawn key."""
    return _mixed(_mixed(places) ^ random.getrandbits(32))


def _mixed(x: Tensor) -> Tensor:
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & MASK
    return x ^ (x >> 16)


def _permuted(places: Tensor, random: Random) -> Tensor:
    """The places in a drawn order: odd multiples, shifts and folds are bijections of 0 ... q - 1."""
    q = len(places)
    for _ in range(3):
        places = (places * (random.randrange(q) | 1) + random.randrange(q)) & (q - 1)
        places = places ^ (places >> max(1, q.bit_length() // 2))
    return places
