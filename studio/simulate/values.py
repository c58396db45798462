"""The values of small index tensors, followed on the side while the tensors themselves have none.

Masks, positions and token ids decide what a model computes: whether a mask is needed, how many tokens carry loss.
They are small, so their values are kept on the CPU next to the tensors that stand for them.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

MOST = 1 << 20  # scalars: larger tensors are not followed
_SLOT = "_studio_value"
_RANDOM = frozenset({"bernoulli", "bernoulli_", "native_dropout", "rand", "randn", "randint", "normal_", "uniform_"})


def value_of(tensor: Tensor) -> Tensor | None:
    """What the tensor holds, if that is known: a real tensor's own values."""
    if not tensor.is_meta:
        return tensor
    found: Tensor | None = getattr(tensor, _SLOT, None)
    return found


def follow(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> None:
    """Compute the values of ``out`` too, where those of all its operands are known."""
    made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not made or not operands:
        return
    small = all(t.numel() <= MOST for t in (*made, *operands))
    known = small and all(not t.is_floating_point() for t in made) and all(value_of(t) is not None for t in operands)
    if not known or func.__name__.split(".")[0] in _RANDOM:
        for tensor in made:
            if tensor.is_meta:
                vars(tensor).pop(_SLOT, None)
        return
    values = func(*tree_map(_to_value, args), **tree_map(_to_value, kwargs))
    for tensor, value in zip(made, [v for v in tree_leaves(values) if isinstance(v, Tensor)], strict=True):
        if tensor.is_meta:
            setattr(tensor, _SLOT, value)


def known(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """The call with values in place of tensors; None unless all are known."""
    operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if any(value_of(tensor) is None for tensor in operands):
        return None
    return tree_map(_to_value, args), tree_map(_to_value, kwargs)


def invent(tensor: Tensor, value: Tensor) -> None:
    """Give a tensor values that nothing computed."""
    setattr(tensor, _SLOT, value)


def _to_value(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return value_of(leaf)
    return torch.device("cpu") if isinstance(leaf, torch.device) else leaf
