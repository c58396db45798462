"""Words in which the shapes of peft's tensors are written down."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from studio.api import ParamDecl, Site
from studio.api.sites import DType
from studio.core.errors import UserError


@dataclass(frozen=True)
class Span:
    """All sites of one placement, for tensors that they share."""

    sites: tuple[Site, ...]

    @cached_property
    def d_in(self) -> int:
        return max(site.d_in for site in self.sites)

    @cached_property
    def d_out(self) -> int:
        return max(site.d_out for site in self.sites)

    @cached_property
    def place(self) -> dict[str, int]:
        """The place of every site, by its path."""
        return {site.path: i for i, site in enumerate(self.sites)}

    @cached_property
    def rank_of(self) -> dict[str, int]:
        """The place of every site among those of the same name below its layer and the same shape."""
        seen: dict[object, int] = {}
        places = {}
        for site in self.sites:
            kind = (name_below(site), site.shape)
            places[site.path] = seen[kind] = seen.get(kind, -1) + 1
        return places


Shapes = Callable[[Any, Site, Span], Iterable[ParamDecl]]


def trained(name: str, *shape: int, share: str | None = None) -> ParamDecl:
    return ParamDecl(name, shape, share=share)


def fixed(name: str, *shape: int, share: str | None = None, dtype: DType = "float32") -> ParamDecl:
    """A tensor that peft saves and does not train."""
    return ParamDecl(name, shape, share=share, role="fixed", dtype=dtype)


def seeded(name: str, *shape: int, share: str | None = None, dtype: DType = "float32") -> ParamDecl:
    """A tensor that peft makes again from the seed or the base weight."""
    return ParamDecl(name, shape, share=share, role="seeded", dtype=dtype)


def name_below(site: Site) -> str:
    """The site's path below its layer."""
    return site.path if site.layer is None else site.path.split(f".{site.layer}.", 1)[-1]


def need_divisor(site: Site, field: str, size: int, *widths: int) -> None:
    """Refuse a block size that does not divide the site's widths.

    Raises:
        UserError: with the sizes that would do.
    """
    if any(width % size for width in widths):
        fitting = ", ".join(str(each) for each in divisors(widths) if each > 1)
        raise UserError(f"{field} {size} does not divide {' and '.join(map(str, widths))}", where=site.path,
                        hint=f"{fitting} would")  # fmt: skip


def need_at_most(site: Site, field: str, size: int, most: int) -> None:
    """Refuse a size that the site has no room for.

    Raises:
        UserError: with the largest that would do.
    """
    if size > most:
        raise UserError(f"{field} {size} is too large here", where=site.path, hint=f"{most} at most")


def divisors(widths: Sequence[int]) -> list[int]:
    """Every number that divides all of ``widths``, ascending."""
    return [size for size in range(1, min(widths) + 1) if not any(width % size for width in widths)]
