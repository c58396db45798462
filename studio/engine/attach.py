"""Placing methods on a live model: allocate what they declare, hook it in, keep fp32 masters.

The base is held in the compute precision; every trainable tensor is an fp32 master. A method's own tensors
enter through its functions; a trained base tensor is cast to the compute precision each time its module runs,
so its gradient reaches the master.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from studio.api import ParamDecl, Params, Place, Site
from studio.core.errors import BugError, PluginError, UserError
from studio.core.spec import Gate
from studio.engine.flow import Flow, backbone_of
from studio.engine.hooks import At, Siblings, TunedModule, to_map
from studio.engine.initial import initial_value, seeded
from studio.engine.live_paths import head_paths, resolve_site
from studio.engine.peft_bridge import Bridge, place_bridge
from studio.engine.prefixes import place_prefix
from studio.engine.prompts import place_prompt
from studio.engine.quantized import QuantizedLinear
from studio.extensions.bridge import BridgedMethod, bridge_problems
from studio.extensions.declaring import Declared, declare_at, tensor_key
from studio.extensions.loader import LoadedMethod
from studio.models.where import select

_FUNCTIONS = ("forward", "merge", "prompt", "prefix")
_SAME_INPUT = (frozenset({"q", "k", "v"}), frozenset({"gate", "up"}))
INITS = "zeros, ones, constant:VALUE, eye, normal:STD, kaiming, uniform:BOUND, signs"


class _Written(dict[str, Tensor]):
    """The tensors of a place: plugins write into them; another tensor in one's stead would be lost."""

    def __setitem__(self, name: str, value: Tensor) -> None:
        raise TypeError(f"write into the tensor: tensors[{name!r}].copy_(...)")


@dataclass(frozen=True)
class Placed:
    """One placement, ready to attach: its method, parameters, sites and gate."""

    method: LoadedMethod | BridgedMethod
    params: Params
    sites: tuple[Site, ...]
    gate: Gate = None


@dataclass
class Attached:
    """The tuned side of a model.

    ``tensors`` holds every fp32 master by its saved name and ``buffers`` what is declared but not trained;
    ``decls`` what was declared for each; ``declared`` the placements as they were counted; ``paths`` the live
    module path of each site and ``tuned`` what is done there; ``bridges`` the tuners of peft by placement.
    """

    model: nn.Module
    placed: tuple[Placed, ...]
    flow: Flow
    seed: int
    tensors: dict[str, nn.Parameter] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    decls: dict[str, ParamDecl] = field(default_factory=dict)
    declared: list[Declared] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)
    tuned: dict[str, TunedModule] = field(default_factory=dict)
    bridges: dict[int, Bridge] = field(default_factory=dict)

    @property
    def trainable(self) -> int:
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def recomputes(self) -> bool:
        """Whether each written token needs the whole sequence again: keys and values of some part are not kept."""
        return any(
            hasattr(item.method.math(), "prompt") or not item.method.traits.backbone_grad for item in self.placed
        )

    def saved(self, *, state: bool) -> dict[str, Tensor]:
        """What a file keeps, by name: trained and fixed tensors, and with ``state`` also what only training needs."""
        roles = {"trained", "fixed", "state"} if state else {"trained", "fixed"}
        every: dict[str, Tensor] = {**self.tensors, **self.buffers}
        return {name: tensor for name, tensor in every.items() if self.decls[name].role in roles}

    def site_tensors(self, index: int, site: Site, decls: Sequence[ParamDecl]) -> dict[str, Tensor]:
        """The tensors of placement ``index`` at a site, by their declared names."""
        keys = {decl.name: tensor_key(index, site, decl) for decl in decls}
        return {name: self.tensors[key] if key in self.tensors else self.buffers[key] for name, key in keys.items()}

    def places(self, index: int) -> list[Place]:
        """The sites of placement ``index`` with their tensors, in order."""
        return [
            Place(
                site=site,
                tensors=_Written(self.site_tensors(index, site, decls)),
                weight=partial(self._weight, site),
                bias=partial(self._bias, site),
            )
            for site, decls in self.declared[index]
        ]

    def _weight(self, site: Site) -> Tensor:
        tuned = tuned_at(self, site)
        base = tuned.start(tuned.attribute)
        if base is None:
            raise TypeError(f"a {site.kind} has no weight")
        return to_map(site, base.detach().clone())

    def _bias(self, site: Site) -> Tensor | None:
        base = tuned_at(self, site).start("bias")
        return None if base is None else base.detach().clone()


def attach(
    model: nn.Module, placed: Sequence[Placed], *, sites: Sequence[Site], train_head: bool, seed: int
) -> Attached:
    """Allocate and hook the placements on ``model`` (frozen, on its device), and unfreeze a task head.

    ``sites`` are all of the model, among which methods read.

    Raises:
        PluginError: a function is missing or an initialisation is not as declared.
        UserError: a bridged placement does not go with the others.
    """
    attached = Attached(model, tuple(placed), Flow(model), seed)
    _freeze_statistics(model)
    if placed and not any(item.method.traits.backbone_grad for item in placed):
        backbone = backbone_of(model)
        vars(backbone)["forward"] = torch.no_grad()(backbone.forward)
    attached.declared += [declare_at(item.method, item.params, item.sites, item.gate) for item in placed]
    _bridge(attached)
    for index, item in enumerate(placed):
        if index not in attached.bridges:
            for site, decls in attached.declared[index]:
                _place(attached, index, item, site, decls)
        _read(attached, item, sites)
    if train_head:
        for path in head_paths(model):
            for name, parameter in list(model.get_submodule(path).named_parameters(recurse=False)):
                decl = ParamDecl(name, tuple(parameter.shape), base="weight" if name == "weight" else "bias")
                _train_base(attached, f"head.{path}.{name}", decl, _tuned(attached, path), name)
    _join_siblings(attached)
    return attached


def _join_siblings(attached: Attached) -> None:
    """Let maps of one module that by their roles read the same input know each other."""
    joined: dict[tuple[str, frozenset[str]], Siblings] = {}
    for path, tuned in attached.tuned.items():
        roles = {at.site.role for at in tuned.forwards}
        alike = next((alike for alike in _SAME_INPUT if roles and roles <= alike), None)
        if alike is not None:
            tuned.siblings = joined.setdefault((path.rpartition(".")[0], alike), tuned.siblings)
            tuned.siblings.members.append(tuned)


def _bridge(attached: Attached) -> None:
    """Place peft's tuners, before anything hooks onto the modules that they wrap."""
    placed = zip(attached.placed, attached.declared, strict=True)
    problems = bridge_problems([(item.method, item.gate, [site for site, _ in declared]) for item, declared in placed])
    for _, message, hint in problems:
        raise UserError(message, hint=hint)
    for index, (item, declared) in enumerate(zip(attached.placed, attached.declared, strict=True)):
        if isinstance(item.method, BridgedMethod) and declared:
            seed = seeded(attached.seed, f"{index}.peft").initial_seed()
            attached.bridges[index] = place_bridge(
                attached.model, item.method, item.params, declared, index=index, seed=seed
            )
    for bridge in attached.bridges.values():
        bridge.activate()
        attached.flow.switches.append(bridge.switch)
        attached.paths |= bridge.paths
        for key, (decl, tensor) in bridge.tensors.items():
            attached.decls[key] = decl
            if isinstance(tensor, nn.Parameter):
                attached.tensors[key] = tensor
            else:
                attached.buffers[key] = tensor


def tuned_at(attached: Attached, site: Site) -> TunedModule:
    """What is done at the live module of a site, made on first use."""
    path, attribute = resolve_site(attached.model, site)
    attached.paths[site.path] = path
    return _tuned(attached, path, attribute)


def _tuned(attached: Attached, path: str, attribute: str = "weight") -> TunedModule:
    key = path if attribute == "weight" else f"{path}.{attribute}"
    if key not in attached.tuned:
        attached.tuned[key] = TunedModule(attached.model.get_submodule(path), attached.flow, attribute)
    return attached.tuned[key]


def _place(attached: Attached, index: int, item: Placed, site: Site, decls: tuple[ParamDecl, ...]) -> None:
    tuned = tuned_at(attached, site)
    for decl in decls:
        _allocate(attached, item.method.id, tensor_key(index, site, decl), decl, tuned)
    if all(decl.base for decl in decls):
        return
    math_module = item.method.math()
    has = {name for name in _FUNCTIONS if hasattr(math_module, name)}
    tensors = attached.site_tensors(index, site, decls)
    stacked = frozenset(decl.name for decl in decls if site.copies > 1 and not (decl.base or decl.share))
    at = At(item.method.id, index, math_module, item.params, site, tensors, item.gate, stacked)
    inserts = (site.kind == "model" and "prompt" in has) or (site.kind == "attention" and "prefix" in has)
    if inserts and item.gate is not None:
        raise UserError(
            f"a gate cannot scale the tokens that {item.method.id} puts in", where=site.path, hint="remove the gate"
        )
    if site.kind == "model" and "prompt" in has:
        place_prompt(attached.model, at, attached.flow)
    elif site.kind == "attention" and "prefix" in has:
        place_prefix(attached.model, tuned.module, at, attached.flow)
    elif "forward" in has and site.copies == 1:
        tuned.forwards.append(at)
    elif "merge" in has:
        tuned.edits.append(at)
    else:
        raise PluginError(item.method.id, f"declares tensors at a {site.kind} but computes nothing with them",
                          where=site.path, hint=f"method.py needs one of {', '.join(_FUNCTIONS)}")  # fmt: skip


def _read(attached: Attached, item: Placed, sites: Sequence[Site]) -> None:
    """Keep the outputs that the method reads."""
    if item.method.traits.reads is None:
        return
    for site in select(sites, item.method.traits.reads):
        tuned = tuned_at(attached, site)
        if site.path not in tuned.reads:
            tuned.reads.append(site.path)


def _freeze_statistics(model: nn.Module) -> None:
    """Keep running averages of batch norms as they are: they belong to the base, whatever the mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            vars(module)["train"] = lambda mode=True, module=module: module


def _allocate(attached: Attached, method_id: str, key: str, decl: ParamDecl, tuned: TunedModule) -> None:
    if key in attached.decls:
        return
    if decl.base:
        name = tuned.attribute if decl.base == "weight" else decl.base
        _train_base(attached, key, decl, tuned, name)
        return
    attached.decls[key] = decl
    device = next(attached.model.parameters()).device
    try:
        value = initial_value(decl, seeded(attached.seed, key), device)
    except (ValueError, IndexError) as error:
        wrong = f"tensor {decl.name!r} of shape {tuple(decl.shape)} cannot start as {decl.init!r}"
        raise PluginError(method_id, wrong, where=key, hint=f"one of {INITS}") from error
    if decl.role == "trained":
        attached.tensors[key] = nn.Parameter(value)
    else:
        attached.buffers[key] = value


def _train_base(attached: Attached, key: str, decl: ParamDecl, tuned: TunedModule, name: str) -> None:
    """Make a base tensor trainable at every module that shares it."""
    if name == "weight" and isinstance(tuned.module, QuantizedLinear):
        raise UserError("the weight is held packed and cannot be trained", where=key, hint="see train.quantization")
    base: Tensor = getattr(tuned.module, name)
    if tuple(base.shape) != tuple(decl.shape):
        raise BugError(f"{key}: counted as {decl.shape}, loaded as {tuple(base.shape)}")
    attached.decls[key] = decl
    if base.dtype == torch.float32:
        base.requires_grad_(True)
        attached.tensors[key] = base  # type: ignore[assignment]
        return
    attached.tensors[key] = master = nn.Parameter(base.detach().float())
    owners = list(_owners(attached.model, base))
    frozen = base.detach()
    base.data = base.new_empty(0)  # the model keeps a parameter of the right device and dtype, without its memory
    for path, owner, own in owners:
        vars(owner)[own] = frozen  # an instance attribute hides the parameter of that name
        _tuned(attached, path, "weight" if own == "bias" else own).masters[own] = master


def _owners(model: nn.Module, tensor: Tensor) -> Iterator[tuple[str, nn.Module, str]]:
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter is tensor:
                yield path, module, name
