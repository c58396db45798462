"""A run that starts from an adapter: the tensors of its folder become the declared tensors' initial values."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from studio.api import ParamDecl, Site
from studio.core.errors import InvalidSpecError, UserError
from studio.core.problems import Problem
from studio.engine.attach import Attached
from studio.engine.export import WEIGHTS
from studio.extensions.declaring import tensor_key

PEFT_WEIGHTS = "adapter_model.safetensors"
ROOT = "base_model.model."
LORA = {"A": "lora_A.weight", "B": "lora_B.weight", "m": "lora_magnitude_vector"}  # peft's names of our factors


def take_start(attached: Attached, folder: Path) -> None:
    """Copy the adapter in ``folder`` into the placements, which must be those it was made with.

    Raises:
        InvalidSpecError: tensors are missing, of another shape, or left over; all are named.
        UserError: the folder has no readable safetensors of an adapter.
    """
    own = (folder / WEIGHTS).is_file()
    stored = _load(folder / (WEIGHTS if own else PEFT_WEIGHTS))
    wanted = attached.saved(state=False)
    names = {key: [key] for key in wanted} if own else _peft_names(attached)
    problems, taken = [], {}
    for key, tensor in wanted.items():
        source = next((name for name in names[key] if name in stored), None)
        if source is not None and stored[source].shape == tensor.shape:
            taken[key] = stored[source]
        elif source is not None:
            problems.append(_problem(key, f"has {tuple(tensor.shape)} here and {tuple(stored[source].shape)} there"))
        elif own or attached.decls[key].role == "trained":  # what peft leaves out it makes again from its seed
            problems.append(_problem(key, "is missing there"))
    known = {name for each in names.values() for name in each}
    problems += [_problem(name, "has no place in these placements") for name in sorted(stored.keys() - known)]
    if problems:
        raise InvalidSpecError(problems)
    with torch.no_grad():
        for key, value in taken.items():
            wanted[key].copy_(value)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), hint="name the folder of an adapter") from error


def _problem(key: str, message: str) -> Problem:
    return Problem(f"method.start: {key}", message, "use the placements that `pet-studio methods adopt` prints")


def _peft_names(attached: Attached) -> dict[str, list[str]]:
    """The names that peft may give each declared tensor."""
    names: dict[str, list[str]] = {}
    for index, declared in enumerate(attached.declared):
        for site, decls in declared:
            for decl in decls:
                key = tensor_key(index, site, decl)
                names.setdefault(key, []).extend(_names_of(attached, index, site, decl))
    for key in attached.saved(state=False):
        if key.startswith("head."):
            names[key] = [ROOT + key.removeprefix("head.")]
    return names


def _names_of(attached: Attached, index: int, site: Site, decl: ParamDecl) -> Iterator[str]:
    """Shared tensors stand at the root of peft's model, at their modules, or at both; tied embeddings too."""
    bridge = attached.bridges.get(index)
    paths = [attached.paths[site.path]]
    name = decl.name if bridge else LORA.get(decl.name, decl.name)
    if bridge:
        paths += sorted(bridge.layers.keys() - bridge.paths.values())
    yield from (f"{ROOT}{path}.{name}" for path in paths)
    if decl.share:
        yield f"base_model.{name}"
