"""The places in a base model where a method can sit, from its config and weight header alone."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from studio.api import Kind, Site
from studio.models.config import is_tied, number, read_config, text_part
from studio.models.containers import find_containers, model_container
from studio.models.families import SHARED_EMBEDDINGS, Family, family_of, guess_family
from studio.models.header import TensorInfo, read_header, weight_files
from studio.models.modules import Header, Module, Shape, find_modules
from studio.models.roles import EMBEDDINGS, EXPERTS, ORDER, find_role, guess_role

_ROUTED = re.compile(r"\bexperts\b|\brouter\b")
_MOE_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")
_RANKS = {role: rank for rank, role in enumerate(ORDER)}
UNPACKED = frozenset({"router"})  # too small to gain anything, and what they decide is brittle
_GATES = frozenset({"gate", "gate_up"})


def find_sites(path: Path) -> tuple[Site, ...]:
    """Every site of the model folder ``path``, in the model's order."""
    return read_model(path)[2]


def read_model(path: Path) -> tuple[dict[str, Any], Mapping[str, TensorInfo], tuple[Site, ...]]:
    """The config, the weight header and the sites of the model folder ``path``.

    Header and sites of the last models asked for are kept while their files stay as they are.
    """
    config = read_config(path)
    files = [file.stat() for file in (path / "config.json", *weight_files(path))]
    return config, *_header_and_sites(path, tuple((f.st_ino, f.st_mtime_ns, f.st_size) for f in files))


@lru_cache(maxsize=4)
def _header_and_sites(
    path: Path, files: tuple[tuple[int, int, int], ...]
) -> tuple[Mapping[str, TensorInfo], tuple[Site, ...]]:
    header = read_header(path)
    return header, sites_of(read_config(path), header)


def sites_for_task(sites: Iterable[Site], task: str) -> tuple[Site, ...]:
    """The sites that the model of a task has: a classifier has a head of its own in place of the words'."""
    return tuple(site for site in sites if task != "classification" or site.role != "head")


def is_quantizable(site: Site) -> bool:
    """Whether the site's matrix can be held in 8 or 4 bits: a linear map in a block, stored d_out first."""
    in_block = site.kind == "linear" and site.layer is not None and site.role not in UNPACKED
    return in_block and site.copies == 1 and not site.transposed and site.tied_to is None


def notice(path: Path) -> str | None:
    """What the user should know about the sites of the model folder ``path``; None when all is known."""
    return notice_of(read_config(path))


def notice_of(config: Mapping[str, Any]) -> str | None:
    """What the user should know about the sites of a model with this config."""
    model_type = str(config.get("model_type", ""))
    if family_of(model_type):
        return None
    guessed = f"{model_type or 'this architecture'} is not in the studio's tables: roles are guessed from names"
    return f"{guessed}, and its experts are not offered as sites" if _is_mixture(config) else guessed


def sites_of(config: Mapping[str, Any], header: Header) -> tuple[Site, ...]:
    """Every site of a model with this config and weight header, in the model's order.

    Blocks of a second stack (the decoder of an encoder-decoder) are numbered after those of the first.
    """
    text = text_part(config)
    family = model_family(config, header)
    modules = find_modules(header, family)
    if family_of(str(config.get("model_type", ""))) is None and _is_mixture(config):
        modules = [module for module in modules if not _is_routed(module)]
    offsets = _stack_offsets(modules)
    blocks = {module.path: module.block for module in modules if module.block}
    sites = [_site(module, family, offsets, number(text, "vocab")) for module in modules]
    sites = _with_gated_roles(sites, blocks)
    hidden = number(text, "hidden") or next((site.d_out for site in sites if site.role == "embed"), 0)
    containers = find_containers(sites, blocks, hidden, ffns=family.plain_ffn)
    last = max((site for site in containers if site.kind == "block"), key=lambda site: site.layer or 0, default=None)
    if not family.open_attention:
        containers = [replace(site, d_kv=0) for site in containers]
    whole = model_container(hidden or (last.d_out if last else 1), containers)
    return tuple(sorted([whole, *containers, *_with_ties(sites, text, family)], key=_order))


def model_family(config: Mapping[str, Any], header: Header) -> Family:
    """The family of a model; a guess for one that the tables do not have."""
    return family_of(str(config.get("model_type", ""))) or guess_family(config, list(header))


def _is_mixture(config: Mapping[str, Any]) -> bool:
    return any(text_part(config).get(key) for key in _MOE_KEYS)


def _is_routed(module: Module) -> bool:
    """Whether the module belongs to a mixture of experts, whose weights transformers fuses under other names."""
    return bool(_ROUTED.search(module.path)) or module.below in ("mlp.gate", "block_sparse_moe.gate")


def _stack_offsets(modules: Iterable[Module]) -> dict[str, int]:
    """The number of the first block of each stack; encoders come before decoders, stages in their order."""
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
    kind = _kind(module.shape, role)
    transposed = family.conv1d and in_block and kind == "linear"
    d_in, d_out = _sizes(module, kind, transposed)
    layer = None if module.index is None else module.index + offsets[module.stack]
    copies = module.shape[0] if role in EXPERTS else 1
    axis = 1 if kind == "conv" or role in family.channels_first else -1
    return Site(
        module.path, kind, role, layer, d_in, d_out, module.shape, module.has_bias, transposed,
        copies=copies, channel_axis=axis,
    )  # fmt: skip


def _kind(shape: Shape, role: str) -> Kind:
    if len(shape) == 1:
        return "norm"
    if len(shape) > 2 and role not in EXPERTS:
        return "conv"
    return "embedding" if role in EMBEDDINGS else "linear"


def _sizes(module: Module, kind: Kind, transposed: bool) -> tuple[int, int]:
    shape = module.shape
    if kind == "norm":
        return shape[0], shape[0]
    if kind == "conv":
        return (shape[0] if _is_depthwise(module) else shape[1]), shape[0]
    first, second = shape[-2:]
    return (first, second) if kind == "embedding" or transposed else (second, first)


def _is_depthwise(module: Module) -> bool:
    """Whether each output channel of a convolution reads one input channel of its own."""
    name = module.path.rpartition(".")[2]
    return module.shape[1] == 1 and ("dw" in name or "depthwise" in name)


def _with_gated_roles(sites: list[Site], blocks: Mapping[str, str]) -> list[Site]:
    """Sites of a gated feed-forward call its last map "down", whatever the family's name for it."""
    gated = {blocks.get(site.path) for site in sites if site.role in _GATES}
    return [
        replace(site, role="down") if site.role == "fc2" and blocks.get(site.path) in gated else site for site in sites
    ]


def _with_ties(sites: list[Site], text: Mapping[str, Any], family: Family) -> list[Site]:
    """The sites with every module that shares the embedding's tensor listed and marked."""
    owner = next((s for s in sites if s.role == "embed" and s.layer is None), None)
    if owner is None:
        return sites
    shared = [*SHARED_EMBEDDINGS] if family.kind == "encoder-decoder" and owner.path == "shared" else []
    if family.kind in ("decoder", "encoder-decoder") and is_tied(text, family.tied):
        shared.append(family.head)
    stored = {site.path: site for site in sites}
    tied = [_tied(path, owner, stored.get(path), is_head=path == family.head) for path in shared]
    return [s for s in sites if s.path not in shared] + tied


def _tied(path: str, owner: Site, stored: Site | None, *, is_head: bool) -> Site:
    """The site ``path`` that shares the tensor of ``owner``, whether or not it is stored a second time."""
    if not is_head:
        return replace(owner, path=path, tied_to=owner.path)
    has_bias = stored is not None and stored.has_bias
    return Site(path, "linear", "head", None, owner.d_out, owner.d_in, owner.shape, has_bias, tied_to=owner.path)


def _order(site: Site) -> tuple[int, int, int, bool, str]:
    """The model itself, what comes before the blocks, the blocks, what comes after."""
    rank = _RANKS.get(site.role, _RANKS["other"])
    if site.kind == "model":
        return (0, 0, 0, False, "")
    if site.layer is not None:
        return (2, site.layer, rank, False, site.path)
    after = rank > _RANKS["other"]
    return (3 if after else 1, 0, rank, site.tied_to is not None, site.path)
