"""Placing methods on a live model: allocate what they declare, hook their forwards, keep fp32 masters.

The base is held in the compute precision; every trainable tensor is an fp32 master. A method's own tensors
enter through its forward; a trained base tensor is cast to the compute precision each time its module runs,
so its gradient reaches the master.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from studio.api import Context, ParamDecl, Params, Site
from studio.api.methods import MethodMath
from studio.core.errors import BugError, PluginError
from studio.engine.build import head_paths, resolve_module
from studio.extensions.declaring import Declared, declare_at, tensor_key
from studio.extensions.loader import Method


@dataclass(frozen=True)
class Placed:
    """One placement, ready to attach: its method, parameters and sites."""

    method: Method
    params: Params
    sites: tuple[Site, ...]


@dataclass
class Attached:
    """The trainable side of a model.

    ``tensors`` holds every fp32 master by its saved name; ``decls`` what was declared for each; ``declared``
    the placements as they were counted; ``paths`` the live module path of each site.
    """

    model: nn.Module
    placed: tuple[Placed, ...]
    tensors: dict[str, nn.Parameter] = field(default_factory=dict)
    decls: dict[str, ParamDecl] = field(default_factory=dict)
    declared: list[Declared] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)

    @property
    def trainable(self) -> int:
        return sum(tensor.numel() for tensor in self.tensors.values())

    def site_tensors(self, index: int, site: Site, decls: Sequence[ParamDecl]) -> dict[str, nn.Parameter]:
        """The tensors of placement ``index`` at a site, by their declared names."""
        return {decl.name: self.tensors[tensor_key(index, site, decl)] for decl in decls}


def attach(model: nn.Module, placed: Sequence[Placed], *, train_head: bool, seed: int) -> Attached:
    """Allocate and hook the placements on ``model`` (frozen, on its device), and unfreeze a task head.

    Raises:
        PluginError: a forward or an initialisation is not as declared.
    """
    attached = Attached(model, tuple(placed))
    generator = torch.Generator().manual_seed(seed)
    for index, item in enumerate(placed):
        declared = declare_at(item.method, item.params, item.sites)
        attached.declared.append(declared)
        math_module = item.method.math()
        for site, decls in declared:
            path, module = resolve_module(model, site.path)
            attached.paths[site.path] = path
            for decl in decls:
                _allocate(attached, tensor_key(index, site, decl), decl, module, generator)
            own = [decl for decl in decls if decl.base is None]
            if own:
                if math_module is None:
                    raise PluginError(item.method.id, "declares tensors of its own but has no method module")
                _hook(attached, index, item, math_module, (site, own), module)
    if train_head:
        for path in head_paths(model):
            module = model.get_submodule(path)
            for name, parameter in list(module.named_parameters(recurse=False)):
                decl = ParamDecl(name, tuple(parameter.shape), base="weight" if name == "weight" else "bias")
                _train_base(attached, f"head.{path}.{name}", decl, module, name)
    return attached


def _allocate(attached: Attached, key: str, decl: ParamDecl, module: nn.Module, generator: torch.Generator) -> None:
    if key in attached.tensors:
        return
    if decl.base:
        _train_base(attached, key, decl, module, decl.base)
        return
    device = next(attached.model.parameters()).device
    attached.tensors[key] = nn.Parameter(initial_value(decl, generator).to(device))
    attached.decls[key] = decl


def initial_value(decl: ParamDecl, generator: torch.Generator) -> Tensor:
    """The fp32 starting value of a declared tensor; drawn on the CPU, so the same on every device."""
    name, _, argument = decl.init.partition(":")
    match name:
        case "zeros":
            return torch.zeros(decl.shape)
        case "ones":
            return torch.ones(decl.shape)
        case "normal":
            return torch.randn(decl.shape, generator=generator) * float(argument or 0.02)
        case "kaiming":  # kaiming_uniform_ with a = sqrt(5): bound = 1 / sqrt(fan_in)
            return _uniform(decl.shape, 1 / math.sqrt(decl.shape[-1]), generator)
        case "uniform":
            return _uniform(decl.shape, float(argument), generator)
    raise PluginError(
        decl.name, f"unknown init {decl.init!r}", hint="zeros, ones, normal:STD, kaiming or uniform:BOUND"
    )


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound


def _train_base(attached: Attached, key: str, decl: ParamDecl, module: nn.Module, name: str) -> None:
    """Make a base tensor trainable at every module that shares it."""
    base = getattr(module, name)
    if tuple(base.shape) != tuple(decl.shape):
        raise BugError(f"{key}: counted as {decl.shape}, loaded as {tuple(base.shape)}")
    attached.decls[key] = decl
    if base.dtype == torch.float32:
        base.requires_grad_(True)
        attached.tensors[key] = base
        return
    attached.tensors[key] = master = nn.Parameter(base.detach().float())
    modules = attached.model.modules()
    owners = [(owner, own) for owner in modules for own, p in owner.named_parameters(recurse=False) if p is base]
    frozen = base.detach()
    base.data = base.new_empty(0)  # the model keeps a parameter of the right device and dtype, without its memory
    for owner, own in owners:
        vars(owner)[own] = frozen  # an instance attribute hides the parameter of that name
        owner.register_forward_pre_hook(_caster(own, master, frozen.dtype))


def _caster(name: str, master: nn.Parameter, dtype: torch.dtype) -> Callable[[nn.Module, Any], None]:
    def cast(module: nn.Module, args: Any) -> None:
        vars(module)[name] = master.to(dtype)

    return cast


def _hook(
    attached: Attached,
    index: int,
    item: Placed,
    math_module: MethodMath,
    place: tuple[Site, list[ParamDecl]],
    module: nn.Module,
) -> None:
    site, decls = place
    tensors = attached.site_tensors(index, site, decls)

    def weight() -> Tensor:
        stored: Tensor = module.weight  # type: ignore[assignment]
        return stored.t() if site.transposed else stored

    def apply(owner: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        ctx = Context(training=owner.training, weight=weight)
        changed = math_module.forward(item.params, site, tensors, args[0], output, ctx)
        if changed.shape != output.shape or changed.dtype != output.dtype:
            raise PluginError(
                item.method.id,
                f"forward made {tuple(changed.shape)} {changed.dtype} of {tuple(output.shape)} {output.dtype}",
                where=site.path,
            )
        return changed

    module.register_forward_hook(apply)
