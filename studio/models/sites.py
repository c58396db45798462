"""The places in a base model where a method can sit, from its config and weight header alone."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.api import Kind, Site
from studio.models.config import is_tied, number, read_config, text_part
from studio.models.families import HEAD, SHARED_EMBEDDINGS, Family, family_of, guess_family
from studio.models.header import TensorInfo, read_header
from studio.models.roles import EMBEDDINGS, ORDER, find_role, guess_role

Header = Mapping[str, TensorInfo]

_BLOCK = re.compile(r"^(?P<stack>.*?)\.?\b(?P<list>layers|layer|h|block|blocks)\.(?P<index>\d+)\.(?P<below>.+)$")
_RENAMED = {"gamma": "weight", "beta": "bias"}  # TensorFlow's words in old checkpoints; transformers renames them too
_ROUTED = re.compile(r"\bexperts\b|\brouter\b")
_MOE_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")
_GATES = frozenset({"gate", "gate_up"})


@dataclass(frozen=True)
class Module:
    """A module with a weight: its canonical path and where it lies."""

    path: str
    shape: tuple[int, ...]
    has_bias: bool
    stack: str  # the path of the module that holds the list of blocks
    index: int | None  # the number within the stack
    below: str  # the path within the block; the whole path outside

    @property
    def block(self) -> str | None:
        return None if self.index is None else self.path[: -len(self.below) - 1]


def find_sites(path: Path) -> tuple[Site, ...]:
    """Every site of the model folder ``path``, in the model's order."""
    return sites_of(read_config(path), read_header(path))


def notice(path: Path) -> str | None:
    """What the user should know about the sites of the model folder ``path``; None when all is known."""
    return notice_of(read_config(path))


def notice_of(config: Mapping[str, Any]) -> str | None:
    """What the user should know about the sites of a model with this config."""
    model_type = str(config.get("model_type", ""))
    if any(text_part(config).get(key) for key in _MOE_KEYS):
        return "the experts of this mixture-of-experts model are not offered as sites; the shared parts are"
    if family_of(model_type) is None:
        return f"{model_type or 'this architecture'} is not in the studio's tables: roles are guessed from names"
    return None


def sites_of(config: Mapping[str, Any], header: Header) -> tuple[Site, ...]:
    """Every site of a model with this config and weight header, in the model's order.

    Blocks of a second stack (the decoder of an encoder-decoder) are numbered after those of the first.
    """
    text = text_part(config)
    family = model_family(config, header)
    modules = [m for m in find_modules(header, family) if not _is_routed(m, text)]
    offsets = _stack_offsets(modules)
    sites = [_site(module, family, offsets, number(text, "vocab")) for module in modules]
    sites = _with_containers(sites, modules, offsets, number(text, "hidden"))
    sites = _with_ties(_with_gated_roles(sites), text, family)
    return tuple(sorted(sites, key=_order))


def model_family(config: Mapping[str, Any], header: Header) -> Family:
    """The family of a model; a guess for one that the tables do not have."""
    return family_of(str(config.get("model_type", ""))) or guess_family(config, list(header))


def find_modules(header: Header, family: Family) -> list[Module]:
    """The backbone's modules with a weight of one or two dimensions, and the head, by canonical path."""
    tensors = _canonical(header, family)
    modules = []
    for name, info in tensors.items():
        path, _, kind = name.rpartition(".")
        if kind == "weight" and path and len(info.shape) in (1, 2):
            modules.append(_module(path, info.shape, f"{path}.bias" in tensors))
    return modules


def _canonical(header: Header, family: Family) -> dict[str, TensorInfo]:
    """Tensors by their name below the backbone; what lies outside it is left out, except the head."""
    names = {name: _renamed(name) for name in header}
    has_prefix = bool(family.prefix) and any(name.startswith(family.prefix) for name in names.values())
    kept = {}
    for stored, name in names.items():
        if has_prefix and name.startswith(family.prefix):
            kept[name.removeprefix(family.prefix)] = header[stored]
        elif name.rpartition(".")[0] == family.head:
            kept[f"{HEAD}.{name.rpartition('.')[2]}"] = header[stored]
        elif not has_prefix:
            kept[name] = header[stored]
    return kept


def _renamed(name: str) -> str:
    path, _, last = name.rpartition(".")
    return f"{path}.{_RENAMED[last]}" if last in _RENAMED else name


def _module(path: str, shape: tuple[int, ...], has_bias: bool) -> Module:
    match = _BLOCK.match(path)
    if not match:
        return Module(path, shape, has_bias, "", None, path)
    return Module(path, shape, has_bias, match["stack"], int(match["index"]), match["below"])


def _is_routed(module: Module, text: Mapping[str, Any]) -> bool:
    """Whether the module belongs to a mixture of experts, whose weights transformers fuses under other names."""
    if not any(text.get(key) for key in _MOE_KEYS):
        return False
    return bool(_ROUTED.search(module.path)) or module.below in ("mlp.gate", "block_sparse_moe.gate")


def _stack_offsets(modules: Iterable[Module]) -> dict[str, int]:
    """The number of the first block of each stack; encoders come before decoders."""
    sizes: dict[str, int] = {}
    for module in modules:
        if module.index is not None:
            sizes[module.stack] = max(sizes.get(module.stack, 0), module.index + 1)
    offsets, total = {}, 0
    for stack in sorted(sizes, key=lambda name: ("decoder" in name, name)):
        offsets[stack] = total
        total += sizes[stack]
    return offsets


def _site(module: Module, family: Family, offsets: Mapping[str, int], vocab: int) -> Site:
    in_block = module.index is not None
    place = f"{module.stack}.{module.below}" if in_block else module.path
    role = find_role(place, in_block=in_block, overrides=family.roles)
    role = role or guess_role(module.path, module.shape, vocab, in_block=in_block)
    kind: Kind = "norm" if len(module.shape) == 1 else "embedding" if role in EMBEDDINGS else "linear"
    transposed = family.conv1d and in_block and kind == "linear"
    d_in, d_out = _sizes(module.shape, kind, transposed)
    layer = None if module.index is None else module.index + offsets[module.stack]
    return Site(module.path, kind, role, layer, d_in, d_out, module.shape, module.has_bias, transposed)


def _sizes(shape: tuple[int, ...], kind: Kind, transposed: bool) -> tuple[int, int]:
    if kind == "norm":
        return shape[0], shape[0]
    first, second = shape
    return (first, second) if kind == "embedding" or transposed else (second, first)


def _with_gated_roles(sites: list[Site]) -> list[Site]:
    """Sites of a gated feed-forward call its last map "down", whatever the family's name for it."""
    if not any(site.role in _GATES for site in sites):
        return sites
    return [replace(site, role="down") if site.role == "fc2" else site for site in sites]


def _with_containers(sites: list[Site], modules: list[Module], offsets: Mapping[str, int], hidden: int) -> list[Site]:
    """The sites, and with them the blocks, their attentions and the model itself, which have no weight of their own."""

    def container(path: str, kind: Kind, layer: int | None) -> Site:
        return Site(path, kind, str(kind), layer, hidden, hidden, (), False)

    blocks = {m.block: m.index + offsets[m.stack] for m in modules if m.block and m.index is not None}
    attentions = {s.path.rpartition(".")[0]: s.layer for s in sites if s.layer is not None and s.role in ("q", "qkv")}
    return [
        *sites,
        *(container(path, "block", layer) for path, layer in blocks.items()),
        *(container(path, "attention", layer) for path, layer in attentions.items()),
        container("", "model", None),
    ]


def _with_ties(sites: list[Site], text: Mapping[str, Any], family: Family) -> list[Site]:
    """The sites with every module that shares the embedding's tensor listed and marked."""
    owner = next((s for s in sites if s.role == "embed" and s.layer is None), None)
    if owner is None:
        return sites
    shared = [*SHARED_EMBEDDINGS] if family.kind == "encoder-decoder" and owner.path == "shared" else []
    if family.kind in ("decoder", "encoder-decoder") and is_tied(text, family.tied):
        shared.append(HEAD)
    tied = [_tied(path, owner, next((s for s in sites if s.path == path), None)) for path in shared]
    return [s for s in sites if s.path not in shared] + tied


def _tied(path: str, owner: Site, stored: Site | None) -> Site:
    """The site ``path`` that shares the tensor of ``owner``, whether or not it is stored a second time."""
    has_bias = stored is not None and stored.has_bias
    if path == HEAD:
        return Site(path, "linear", "head", None, owner.d_out, owner.d_in, owner.shape, has_bias, tied_to=owner.path)
    return replace(owner, path=path, tied_to=owner.path)


def _order(site: Site) -> tuple[int, int, int, bool, str]:
    """The model itself, what comes before the blocks, the blocks, what comes after."""
    rank = ORDER.index(site.role) if site.role in ORDER else ORDER.index("other")
    if site.kind == "model":
        return (0, 0, 0, False, "")
    if site.layer is not None:
        return (2, site.layer, rank, False, site.path)
    after = rank > ORDER.index("other")
    return (3 if after else 1, 0, rank, site.tied_to is not None, site.path)
