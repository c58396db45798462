"""Folding placements into the base weights, once and for good: fp32 arithmetic, one cast at the end."""

import torch
from torch import Tensor, nn

from studio.core.errors import UserError
from studio.engine.attach import Attached
from studio.engine.hooks import TunedModule, is_flipped
from studio.engine.peft_bridge import merge_bridge, merge_obstacles


def merge_into_base(attached: Attached) -> nn.Module:
    """The model with every placement folded into its weights; nothing is left attached. Changes it in place.

    Raises:
        UserError: a tensor is not finite, or a placement has no merge, would need a bias that the model lacks, or
            sits on a shared tensor.
    """
    if problems := merge_problems(attached):
        raise UserError(problems[0], hint="export the adapter itself instead")
    for name, tensor in attached.tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{name} holds values that are not numbers", hint="merge an earlier checkpoint")
    with torch.no_grad():
        for tuned in attached.tuned.values():
            _fold(attached, tuned)
        for bridge in attached.bridges.values():
            merge_bridge(attached.model, bridge)
    attached.flow.switches.clear()
    attached.flow.enabled = False
    return attached.model


def merge_problems(attached: Attached) -> list[str]:
    """Why the placements cannot be folded in; empty if they can."""
    found = []
    for index, item in enumerate(attached.placed):
        math = item.method.math()
        if index in attached.bridges:
            found += merge_obstacles(attached.bridges[index])
        elif math is not None and not hasattr(math, "merge"):
            found.append(f"{item.method.id} cannot be merged into the weights")
        if item.gate == "input":
            found.append(f"{item.method.id} has a gate that depends on the input")
    for path, tuned in attached.tuned.items():
        if tuned.placed and _shared(attached.model, tuned.module, tuned.attribute):
            found.append(f"{path} shares its weight with another module, which a merge would change too")
    for bridge in attached.bridges.values():
        for path, layer in bridge.layers.items():
            if _shared(attached.model, layer.get_base_layer(), "weight"):
                found.append(f"{path} shares its weight with another module, which a merge would change too")
    return found


def _fold(attached: Attached, tuned: TunedModule) -> None:
    module, name = tuned.module, tuned.attribute
    if not tuned.placed and not tuned.masters:
        return
    if tuned.placed:
        weight, bias = tuned.merged(tuned.placed)
        _store(module, name, weight.transpose(-1, -2) if is_flipped(tuned.placed[0].site) else weight)
        if bias is not None:
            _store(module, "bias", bias)
    for own, master in tuned.masters.items():
        if not tuned.placed or own not in (name, "bias"):
            _store(module, own, master)
        vars(module).pop(own, None)
    tuned.masters.clear()
    tuned.edits.clear()
    tuned.forwards.clear()


def _store(module: nn.Module, name: str, value: Tensor) -> None:
    parameter = module._parameters.get(name)
    if parameter is None:
        raise UserError(
            f"the merged {type(module).__name__} would need a {name} that the architecture does not have",
            hint="choose parameters without a shift, or export the adapter itself",
        )
    parameter.data = value.detach().to(parameter.dtype).contiguous().clone()


def _shared(model: nn.Module, owner: nn.Module, name: str) -> bool:
    own = owner._parameters.get(name)
    if own is None:
        return False
    return any(
        parameter is own and module is not owner
        for module in model.modules()
        for parameter in module.parameters(recurse=False)
    )
