"""Helpers for ``declare`` and ``fit``: counting and the largest size within a budget."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from studio.api.params import Params
from studio.api.sites import ParamDecl, Site

P = TypeVar("P", bound=Params)
MOST = 4096  # of a field without an upper bound


def count_over(declare: Callable[[Any, Site], Sequence[ParamDecl]], params: Params, sites: Iterable[Site]) -> int:
    """Trainable scalars that ``declare`` gives over ``sites``; shared and tied tensors once."""
    seen: dict[tuple[str, str], int] = {}
    for site in sites:
        for decl in declare(params, site):
            each = decl.count * (1 if decl.base or decl.share else site.copies)
            tied = site.tied_to if decl.base == "weight" else None
            seen[(decl.share or tied or site.path, f"{decl.base or ''}{decl.name}")] = each
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
    smallest: int | None = None,
    most: int | None = None,
) -> P:
    """``params`` with the integer ``field`` as large as the budget allows.

    Sizes go from ``smallest`` to ``most``, by default the field's own ``lo`` and ``hi``; those that ``Params`` refuses
    are passed over.

    Raises:
        ValueError: the smallest size exceeds the budget, or no size is accepted.
    """
    low, high = _bounds(params, field)
    sizes = range(low if smallest is None else smallest, (high if most is None else most) + 1)
    first = next((size for size in sizes if _accepted(params, field, size)), None)
    if first is None:
        raise ValueError(f"no {field} from {sizes.start} to {sizes.stop - 1} is allowed")

    def make(size: int) -> P:
        below = range(size, first - 1, -1)
        return next(sized for tried in below if (sized := _accepted(params, field, tried)))

    return largest(make, lambda sized: count_over(declare, sized, sites), budget, smallest=first, most=sizes.stop - 1)


def _bounds(params: Params, field: str) -> tuple[int, int]:
    """The field's own bounds, where it has them."""
    told: list[Any] = type(params).model_fields[field].metadata
    low = next((bound.ge for bound in told if hasattr(bound, "ge")), 1)
    high = next((bound.le for bound in told if hasattr(bound, "le")), MOST)
    return int(low), int(high)


def _accepted(params: P, field: str, size: int) -> P | None:
    try:
        return type(params).model_validate({**params.model_dump(), field: size})
    except ValidationError:
        return None
