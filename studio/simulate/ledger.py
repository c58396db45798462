"""Every storage that a computation makes and frees, in order: what an allocator would see."""

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from studio.simulate.emulator import MOST, REPEATS
from studio.simulate.scratch import Scratch, no_scratch
from studio.simulate.values import compute, follow, invent, known, value_of

aten = torch.ops.aten
_SDPA = aten._scaled_dot_product_flash_attention
_FLOPS_LIKE = {
    aten.addmm_: aten.addmm,
    aten._scaled_dot_product_flash_attention_for_cpu: _SDPA,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: aten._scaled_dot_product_flash_attention_backward,
}


@dataclass
class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Storages by number, in the order of their making.

    ``sizes`` are their bytes, ``kinds`` what they hold, ``most`` as in ``MOST``; ``events`` name a storage when it is
    made (number + 1) and when it is freed (minus that); ``marks`` are the events at which a phase began; ``flops`` are
    counted by phase.
    """

    device: str = "meta"
    sizes: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    most: list[float] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)
    flops: dict[str, int] = field(default_factory=dict)
    vocab: int = 0
    scratch: Scratch = no_scratch
    _live: dict[int, int] = field(default_factory=dict)
    _kind: str = "workspace"

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (aten._local_scalar_dense.default, aten.item.default, aten.is_nonzero.default):
            return _scalar(args[0])
        if func is aten.index.Tensor and args[0].is_meta:
            args = (args[0], list(_expanded(args[1])))
        out = _nonzero(args[0]) if func is aten.nonzero.default and args[0].is_meta else _run(func, args, kwargs)
        from_host = func is aten._to_copy.default and not args[0].is_meta
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and not from_host:
                self.note(leaf)
        self._pass(self.scratch(func, args, out))
        follow(func, args, kwargs, out)
        if func is aten.topk.default and out[1].is_meta:
            invent(out[1], torch.arange(out[1].numel()).reshape(out[1].shape) % args[0].shape[-1])
        self._count(func, args, kwargs, out)
        return out

    def note(self, tensor: Tensor, kind: str | None = None) -> None:
        """Enter the tensor's storage, unless it is known."""
        if tensor.device.type != self.device:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        number = self._live[key] = len(self.sizes)
        wide = bool(self.vocab) and tensor.dim() > 1 and tensor.shape[-1] == self.vocab and self._kind != "weights"
        self.sizes.append(storage.nbytes())
        self.most.append(MOST.get())
        self.kinds.append(kind or ("logits" if wide else self._kind))
        self.events.append(number + 1)
        weakref.finalize(storage, self._free, key, number)

    def _pass(self, size: int | None) -> None:
        """Enter a storage that an operation makes and frees."""
        if size is not None:
            self.sizes.append(size)
            self.most.append(MOST.get())
            self.kinds.append("workspace")
            self.events += [len(self.sizes), -len(self.sizes)]

    def _free(self, key: int, number: int) -> None:
        self._live.pop(key, None)
        self.events.append(-number - 1)

    def relabel(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Say what the storages of these tensors hold."""
        for tensor in tensors:
            number = self._live.get(tensor.untyped_storage()._cdata)
            if number is not None:
                self.kinds[number] = kind

    def phase(self, name: str, kind: str) -> None:
        """A phase begins, in which storages hold ``kind`` unless somebody says otherwise."""
        self.marks.append((name, len(self.events)))
        self._kind = kind

    def _count(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        packet = func.overloadpacket
        formula = flop_registry.get(_FLOPS_LIKE.get(packet, packet))
        if formula is not None and self.marks:
            name = self.marks[-1][0]
            self.flops[name] = self.flops.get(name, 0) + round(REPEATS.get() * formula(*args, **kwargs, out_val=out))


def _scalar(tensor: Tensor) -> Any:
    value = value_of(tensor)
    if value is not None:
        return value.item()
    return True if tensor.dtype == torch.bool else 0.0 if tensor.is_floating_point() else 0


def _expanded(indices: Iterable[Tensor | None]) -> Iterator[Tensor | None]:
    """The indices with every mask replaced by the positions it marks, one tensor a dimension."""
    for index in indices:
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            yield index
        else:
            yield from _nonzero(index).unbind(1)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation; one whose shape depends on values is computed with those."""
    try:
        return func(*args, **kwargs)
    except RuntimeError:
        values = known(args, kwargs)
        if values is None:
            raise
        return tree_map(lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) else leaf, compute(func, *values))


def _nonzero(mask: Tensor) -> Tensor:
    """Where the mask is true, (n, dims); everywhere if nobody knows."""
    value = value_of(mask)
    if value is None:
        value = torch.ones(mask.shape, dtype=torch.bool)
    found = value.nonzero()
    out = torch.empty(found.shape, dtype=torch.int64, device=mask.device)
    if out.is_meta:
        invent(out, found)
    return out
