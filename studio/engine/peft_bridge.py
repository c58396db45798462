"""One of peft's tuners on the live model: peft makes and computes, the host seeds, counts, trains and saves.

The tuner's layers stand in the place of the modules they wrap, so that everything else that hooks onto those paths
hooks onto them.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studio.api import ParamDecl, Params, Site
from studio.core.errors import BugError, PluginError
from studio.engine.live_paths import resolve_site
from studio.extensions.bridge import BridgedMethod
from studio.extensions.declaring import Declared, tensor_key
from studio.extensions.peft_shapes import FEEDFORWARD


@dataclass
class Bridge:
    """A placed tuner: its layers by live path, and every declared tensor by the host's key.

    ``paths`` are the live paths by site; a layer beyond those stands where a wrapped embedding's weight is tied to.
    """

    method: BridgedMethod
    name: str
    tuner: Any
    config: Any
    layers: dict[str, Any]
    paths: dict[str, str]
    tensors: dict[str, tuple[ParamDecl, Tensor]] = field(default_factory=dict)

    def switch(self, on: bool) -> None:
        """Let the layers compute their change, or the base alone."""
        for layer in self.layers.values():
            layer.enable_adapters(on)

    def activate(self) -> None:
        """Select this adapter in its layers; placing another of the same kind deselects it."""
        for layer in self.layers.values():
            layer.set_adapter([self.name])
        for decl, tensor in self.tensors.values():
            if decl.role == "trained":
                tensor.requires_grad_(True)


def place_bridge(
    model: nn.Module, method: BridgedMethod, params: Params, declared: Declared, *, index: int, seed: int
) -> Bridge:
    """Let peft wrap the declared sites, and find in its layers what was declared for them.

    Raises:
        PluginError: peft refuses, or wraps other modules than asked.
        BugError: peft's tensors are not those that were counted.
    """
    sites = {resolve_site(model, site)[0]: site for site, _ in declared}
    name, before = f"p{index}", _layers(model)
    config = make_config(method, params, model, sites, seed)
    with _seeded(seed), _quiet(method):
        tuner = _wrap(model, config, name)
    vars(model).pop("peft_config", None)
    layers = {path: layer for path, layer in _layers(model).items() if path not in before}
    _check_wrapped(method, layers, sites)
    for layer in layers.values():
        layer.train(model.training)
    bridge = Bridge(method, name, tuner, config, layers, {site.path: path for path, site in sites.items()})
    for site, decls in declared:
        for decl in decls:
            _register(bridge, tensor_key(index, site, decl), site, decl)
    _check_complete(bridge)
    return bridge


def make_config(method: BridgedMethod, params: Params, model: nn.Module, sites: Mapping[str, Site], seed: int) -> Any:
    """peft's config for the tuner on modules given by their live paths."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from peft.utils.peft_types import PeftType

    values = params.model_dump()
    for each in method.entry["params"]:
        if each.get("seed") and values[each["name"]] is None:
            values[each["name"]] = seed % 2**31
    values["target_modules"] = sorted(sites)
    if method.entry["oriented"]:
        values["fan_in_fan_out"] = any(site.transposed for site in sites.values())
    if method.tuner == "IA3":
        values["feedforward_modules"] = sorted(path for path, site in sites.items() if site.role in FEEDFORWARD)
    if method.tuner == "FROD":
        values["progressbar"] = False
    return PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(method.tuner)](**values)


def merge_obstacles(bridge: Bridge) -> list[str]:
    """Why the tuner's change cannot be folded into the wrapped modules; empty if it can."""
    if not bridge.method.traits.mergeable:
        return [f"{bridge.method.id} cannot be merged into the weights"]
    bare = [path for path, layer in bridge.layers.items() if layer.get_base_layer()._parameters.get("bias") is None]
    if bridge.method.tuner == "BEFT" and bare:
        return [f"{bare[0]} has no bias that {bridge.method.id} could be merged into"]
    return []


def merge_bridge(model: nn.Module, bridge: Bridge) -> None:
    """Fold the tuner's change into the wrapped modules, in fp32, and put those back in their places.

    Raises:
        PluginError: the merged weights are not finite.
    """
    for path, layer in bridge.layers.items():
        dtype = layer.get_base_layer().weight.dtype
        layer.get_base_layer().float()
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise PluginError(bridge.method.id, f"cannot be merged: {error}", where=path) from error
        owner, _, name = path.rpartition(".")
        setattr(model.get_submodule(owner), name, layer.get_base_layer().to(dtype))


def write_config(bridge: Bridge, folder: Path, *, base_model: str, task: str, heads: list[str] | None) -> None:
    """Write peft's ``adapter_config.json`` into ``folder``; ``heads`` are modules that are saved whole."""
    config = copy(bridge.config)
    config.base_model_name_or_path, config.task_type, config.inference_mode = base_model, task, True
    if heads:
        config.modules_to_save = heads
    config.save_pretrained(str(folder))


def peft_tensors(bridge: Bridge) -> dict[str, Tensor]:
    """The adapter's tensors by peft's names, without the adapter's own."""
    from peft.utils.save_and_load import get_peft_model_state_dict

    whole = nn.Module()
    whole.base_model = bridge.tuner
    vars(whole)["peft_config"] = {bridge.name: bridge.config}
    with _quiet(bridge.method):
        tensors = get_peft_model_state_dict(whole, adapter_name=bridge.name, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _wrap(model: nn.Module, config: Any, name: str) -> Any:
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    tuner = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, name)
    device = next(model.parameters()).device
    for child in tuner.children():
        if child is not model:
            child.to(device)
    before = {id(parameter) for parameter in tuner.parameters()}
    tuner._cast_adapter_dtype(name)
    if any(id(parameter) not in before for parameter in tuner.parameters()):
        for layer in _layers(model).values():
            if hasattr(layer, "_attach_hooks"):
                layer._attach_hooks(name)  # WORKAROUND: OSF's projection of gradients is lost with the cast parameters
    return tuner


def _layers(model: nn.Module) -> dict[str, Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {path: module for path, module in model.named_modules() if isinstance(module, BaseTunerLayer)}


def _check_wrapped(method: BridgedMethod, layers: Mapping[str, Any], sites: Mapping[str, Site]) -> None:
    """The wrapped modules must be the sites, besides those tied to one."""
    weights = {id(layers[path].get_base_layer().weight) for path in sites if path in layers}
    tied = {path for path in layers.keys() - sites.keys() if id(layers[path].get_base_layer().weight) in weights}
    if wrong := sorted((layers.keys() ^ sites.keys()) - tied):
        raise PluginError(method.id, f"peft wraps other modules than asked: {', '.join(wrong[:3])}")


def _register(bridge: Bridge, key: str, site: Site, decl: ParamDecl) -> None:
    head = decl.name.partition(".")[0]
    owner = bridge.tuner if decl.share and hasattr(bridge.tuner, head) else bridge.layers[bridge.paths[site.path]]
    tensor = _find(owner, decl.name, bridge.name)
    if tuple(tensor.shape) != decl.shape or (decl.role == "trained" and tensor.dtype != torch.float32):
        made = f"{tuple(tensor.shape)} {tensor.dtype}"
        raise BugError(f"{bridge.method.id} {key}: counted as {decl.shape}, made as {made}")
    known = bridge.tensors.setdefault(key, (decl, tensor))
    if known[1] is not tensor:
        raise BugError(f"{bridge.method.id} {key}: counted once for all sites, made more than once")


def _find(owner: Any, name: str, adapter: str) -> Tensor:
    """A tensor by peft's saved name, in which the adapter's own name is left out."""
    head, *rest = name.split(".")
    value = getattr(owner, head)
    while not isinstance(value, Tensor):
        keyed = hasattr(value, "keys")
        step = adapter if keyed and adapter in value else rest.pop(0)
        value = value[step] if keyed else getattr(value, step)
    return value


def _check_complete(bridge: Bridge) -> None:
    """Nothing may be trainable that was not counted."""
    counted = {id(tensor) for decl, tensor in bridge.tensors.values() if decl.role == "trained"}
    for path, layer in bridge.layers.items():
        for name, parameter in layer.named_parameters():
            if parameter.requires_grad and id(parameter) not in counted:
                raise BugError(f"{bridge.method.id} trains {path}.{name}, which was not counted")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


@contextmanager
def _quiet(method: BridgedMethod) -> Iterator[None]:
    """Without peft's remarks, which the studio's own checks and traits replace; its refusals are PluginErrors."""
    from peft.tuners.boft import layer as boft

    # WORKAROUND: it compiles a CUDA extension when a layer is made, and trains other shapes where that fails
    boft.get_fbd_cuda = lambda: None
    # as it is, but said: torch warns of FRoD otherwise
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ValueError, TypeError) as error:
            raise PluginError(method.id, f"peft refuses: {error}") from error
