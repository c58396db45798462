"""What is asked of logits behind a frozen output layer, some targets at a time: they never exist all at once."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, linear, log_softmax
from torch.overrides import handle_torch_function, has_torch_function

from studio.models.families import family_of

LOGITS_BYTES = {"cpu": 2**24, "cuda": 2**28}  # of the logits in fp32 that exist at once
_SCALES = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # what configs call a change to the logits


def plain_head(model: Any) -> nn.Linear | None:
    """The output layer, if it is a frozen map on which nothing sits and after which nothing comes."""
    head = model.get_output_embeddings()
    family = family_of(str(getattr(model.config, "model_type", "")))
    if family is None or family.kind != "decoder":
        return None
    if type(head) is not nn.Linear or any(parameter.requires_grad for parameter in head.parameters()):
        return None
    touched = head._forward_hooks or head._forward_pre_hooks or "forward" in vars(head) or "weight" in vars(head)
    scaled = any(getattr(model.config, name, None) is not None for name in _SCALES)
    return None if touched or scaled else head


def targets_at_once(vocab: int, device: str) -> int:
    """Of how many targets the logits exist at once."""
    return max(1, LOGITS_BYTES.get(device, LOGITS_BYTES["cuda"]) // (4 * vocab))


def chunked_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """The cross-entropy in fp32 of ``targets`` (N,) under the logits of ``hidden`` (N, d), summed.

    ``weight`` (V, d) and ``bias`` (V,) are not trained. The gradient is made in the forward pass, which alone sees the
    logits; it is kept instead of them.
    """
    call = (hidden, weight, bias, targets)
    if has_torch_function((hidden, weight, targets)):  # a simulation looks on
        return handle_torch_function(chunked_cross_entropy, (hidden, weight, targets), *call)
    return _ChunkedCrossEntropy.apply(*call)  # type: ignore[no-any-return,no-untyped-call]


def scores_in_parts(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What ``chunked_cross_entropy`` gives, without gradients, and the most probable tokens (N,)."""
    call = (hidden, weight, bias, targets)
    if has_torch_function((hidden, weight, targets)):  # a simulation looks on
        return handle_torch_function(scores_in_parts, (hidden, weight, targets), *call)
    total = hidden.new_zeros((), dtype=torch.float32)
    found = torch.empty_like(targets)
    size = targets_at_once(len(weight), hidden.device.type)
    for start in range(0, len(targets), size):
        some = slice(start, start + size)
        loss, found[some] = scores_of_some(hidden[some], weight, bias, targets[some])
        total += loss
    return total, found


def scores_of_some(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The summed loss of some targets and the most probable tokens there."""
    logits = linear(hidden, weight, bias)
    return cross_entropy(logits.float(), targets, reduction="sum"), logits.argmax(-1)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        made = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        total = hidden.new_zeros((), dtype=torch.float32)
        size = targets_at_once(len(weight), hidden.device.type)
        for start in range(0, len(targets), size):
            some = slice(start, start + size)
            total += loss_of_some(hidden[some], weight, bias, targets[some], None if made is None else made[some])
        ctx.save_for_backward(made)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (made,) = ctx.saved_tensors
        return (made.float() * gradient).to(made.dtype), None, None, None  # half precision may not hold the factor


def loss_of_some(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, made: Tensor | None) -> Tensor:
    """The summed loss of some targets; its gradient by ``hidden`` is written into ``made``."""
    places = targets.unsqueeze(-1)
    logarithms = log_softmax(linear(hidden, weight, bias), -1, dtype=torch.float32)
    of_targets = logarithms.gather(-1, places)
    if made is not None:
        shares = logarithms.exp_()
        shares.scatter_add_(-1, places, torch.full_like(of_targets, -1.0))
        torch.mm(shares.to(hidden.dtype), weight, out=made)
    return -of_targets.sum()
