"""The values of small index tensors, followed on the side while the tensors themselves have none.

Masks, positions and token ids decide what a model computes: whether a mask is needed, how many tokens carry loss.
They are small, so their values are kept on the CPU next to the tensors that stand for them.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

MOST = 1 << 20  # scalars: larger tensors are not followed
_SLOT, _LOST = "_studio_value", "_studio_lost"
_RANDOM = frozenset({"bernoulli", "bernoulli_", "random_", "randint_like", "multinomial"})


def value_of(tensor: Tensor) -> Tensor | None:
    """What the tensor holds, if that is known: a real tensor's own values."""
    if not tensor.is_meta:
        return tensor
    found: Tensor | None = getattr(tensor, _SLOT, None)
    return None if found is None or hasattr(found.untyped_storage(), _LOST) else found


def follow(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> None:
    """Compute the values of ``out`` too, if it holds few whole numbers and those of all operands are known."""
    made = [leaf for leaf in (out if isinstance(out, tuple | list) else (out,)) if isinstance(leaf, Tensor)]
    if not made or any(tensor.is_floating_point() for tensor in made):
        return  # nearly every operation
    operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    small = all(tensor.numel() <= MOST for tensor in (*made, *operands))
    if (
        not small
        or not operands
        or func.__name__.split(".")[0] in _RANDOM
        or any(value_of(t) is None for t in operands)
    ):
        for tensor in made:
            if (lost := vars(tensor).pop(_SLOT, None)) is not None:  # changed in place, with all that share it
                setattr(lost.untyped_storage(), _LOST, True)
        return
    values = compute(func, tree_map(_to_value, args), tree_map(_to_value, kwargs))
    for tensor, value in zip(made, values if isinstance(values, tuple | list) else (values,), strict=True):
        if tensor.is_meta:
            setattr(tensor, _SLOT, value)


def known(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """The call with values in place of tensors; None unless all are known."""
    operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if any(value_of(tensor) is None for tensor in operands):
        return None
    return tree_map(_to_value, args), tree_map(_to_value, kwargs)


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on values; in floating point where the CPU counts nothing else, as in a histogram."""
    try:
        return func(*args, **kwargs)
    except RuntimeError:
        counted = func(*tree_map(lambda leaf: leaf.float() if isinstance(leaf, Tensor) else leaf, args), **kwargs)
        return counted.to(args[0].dtype)


def invent(tensor: Tensor, value: Tensor) -> None:
    """Give a tensor values that nothing computed."""
    setattr(tensor, _SLOT, value)


def _to_value(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return value_of(leaf)
    return torch.device("cpu") if isinstance(leaf, torch.device) else leaf
