"""Helpers for ``declare`` and ``fit``: counting and the largest size within a budget."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from studio.api.params import Params
from studio.api.sites import ParamDecl, Site

P = TypeVar("P", bound=Params)


def count_over(declare: Callable[[Any, Site], Sequence[ParamDecl]], params: Params, sites: Iterable[Site]) -> int:
    """Trainable scalars that ``declare`` gives over ``sites``; shared and tied tensors once."""
    seen: dict[tuple[str, str], int] = {}
    for site in sites:
        for decl in declare(params, site):
            each = decl.count * (1 if decl.base or decl.share else site.copies)
            seen[(decl.share or site.path, f"{decl.base or ''}{decl.name}")] = each
    return sum(seen.values())


def largest(
    make: Callable[[int], P], count: Callable[[P], int], budget: int, *, smallest: int = 1, most: int = 1 << 20
) -> P:
    """``make(size)`` with the largest size whose count is within the budget; the count must grow with the size.

    Raises:
        ValueError: the smallest size exceeds the budget.
    """
    least = count(make(smallest))
    if least > budget:
        raise ValueError(f"the smallest size already has {least:,} parameters")
    low, high = smallest, smallest + 1
    while high <= most and count(make(high)) <= budget:
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(make(middle)) <= budget else (low, middle)
    return make(low)


def fit_field(
    params: P,
    field: str,
    declare: Callable[[Any, Site], Sequence[ParamDecl]],
    sites: Sequence[Site],
    budget: int,
    *,
    smallest: int = 1,
    most: int = 4096,
) -> P:
    """``params`` with the integer ``field`` as large as the budget allows.

    Raises:
        ValueError: the smallest size exceeds the budget.
    """

    def make(size: int) -> P:
        return params.model_copy(update={field: size})

    return largest(make, lambda sized: count_over(declare, sized, sites), budget, smallest=smallest, most=most)
