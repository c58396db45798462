"""AdamW over the fp32 masters, grouped by weight decay and learning-rate factor."""

from typing import Any

import torch
from torch import nn

from studio.engine.attach import Attached


def build_optimizer(attached: Attached, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Decoupled weight decay (Loshchilov and Hutter 2019) only where the declaration allows it."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for key, tensor in attached.tensors.items():
        decl = attached.decls[key]
        decays = decl.decay and tensor.dim() > 1
        groups.setdefault((decays, decl.lr_mult), []).append(tensor)
    settings: list[dict[str, Any]] = [
        {"params": tensors, "weight_decay": weight_decay if decays else 0.0, "lr_mult": lr_mult}
        for (decays, lr_mult), tensors in groups.items()
    ]
    return torch.optim.AdamW(settings, lr=learning_rate, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group, times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_mult"]
