"""The modules of a base model that hold a weight, under the names they have in the live model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from studio.models.families import Family
from studio.models.header import TensorInfo

Header = Mapping[str, TensorInfo]
Shape = tuple[int, ...]

_RENAMED = {"gamma": "weight", "beta": "bias"}  # TensorFlow's words in old checkpoints; transformers renames them too
_TASK_HEADS = frozenset({"classifier", "projector"})  # beside the backbone, where no prefix tells
_EXPERT = re.compile(r"^(?P<experts>.+\.experts)\.(?P<index>\d+)\.(?P<map>\w+)\.weight$")
# transformers holds the maps of all experts in one tensor, gate above up; checkpoints may hold each by itself
_FUSED = {
    "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj", "down_proj": "down_proj",
    "w1": "gate_up_proj", "w3": "gate_up_proj", "w2": "down_proj",
}  # fmt: skip
_EXPERT_MAPS = tuple(f".experts.{name}" for name in sorted({*_FUSED.values()}))


@dataclass(frozen=True)
class Module:
    """A module with a weight (or the tensor of a mixture's experts): its canonical path and where it lies."""

    path: str
    shape: Shape
    has_bias: bool
    stack: str  # the path of the list of blocks
    index: int | None  # the number within the stack
    below: str  # the path within the block; the whole path outside

    @property
    def block(self) -> str | None:
        return None if self.index is None else f"{self.stack}.{self.index}"


def find_modules(header: Header, family: Family) -> list[Module]:
    """The backbone's modules with a weight, its experts' tensors, and the head, by canonical path."""
    tensors = _fuse_experts(_canonical(header, family))
    block = re.compile(rf"^(?P<stack>(?:.+?\.)?(?:{family.blocks}))\.(?P<index>\d+)\.(?P<below>.+)$")
    modules = []
    for name, shape in tensors.items():
        path, _, kind = name.rpartition(".")
        if kind == "weight" and path and shape:
            modules.append(_module(block, path, shape, f"{path}.bias" in tensors))
        elif name.endswith(_EXPERT_MAPS):
            modules.append(_module(block, name, shape, has_bias=False))
    return modules


def _module(block: re.Pattern[str], path: str, shape: Shape, has_bias: bool) -> Module:
    match = block.match(path)
    if not match:
        return Module(path, shape, has_bias, "", None, path)
    return Module(path, shape, has_bias, match["stack"], int(match["index"]), match["below"])


def _canonical(header: Header, family: Family) -> dict[str, Shape]:
    """Shapes by the name below the backbone; what lies outside it is left out, except the head."""
    live = {_live_name(name, family): info.shape for name, info in header.items()}
    has_prefix = bool(family.prefix) and any(name.startswith(family.prefix) for name in live)
    kept = {}
    for name, shape in live.items():
        if has_prefix and name.startswith(family.prefix):
            kept[name.removeprefix(family.prefix)] = shape
        elif name.rpartition(".")[0] == family.head or not (has_prefix or name.split(".", 1)[0] in _TASK_HEADS):
            kept[name] = shape
    return kept


def _live_name(stored: str, family: Family) -> str:
    """What transformers calls the tensor ``stored`` in the loaded model."""
    for old, new in family.renames:
        stored = stored.replace(old, new)
    path, _, last = stored.rpartition(".")
    return f"{path}.{_RENAMED[last]}" if last in _RENAMED else stored


def _fuse_experts(tensors: Mapping[str, Shape]) -> dict[str, Shape]:
    """The tensors with those of single experts replaced by the ones of all: (experts, d_out, d_in)."""
    fused: dict[str, Shape] = {}
    kept = {}
    for name, shape in tensors.items():
        match = _EXPERT.match(name) if ".experts." in name else None
        if match is None or match["map"] not in _FUSED:
            kept[name] = shape
            continue
        path, index = f"{match['experts']}.{_FUSED[match['map']]}", int(match["index"])
        count, rows, _ = fused.get(path, (0, 0, 0))
        fused[path] = (max(count, index + 1), rows + (0 if index else shape[0]), shape[1])
    return kept | fused
