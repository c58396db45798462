"""What a method declares over sites, checked and counted; the same numbers for window, file and worker."""

from collections.abc import Iterable, Sequence
from typing import Any

from studio.api.methods import Fits
from studio.api.params import Params
from studio.api.sites import ParamDecl, Site
from studio.core.errors import PluginError
from studio.extensions.loader import Method

Declared = list[tuple[Site, tuple[ParamDecl, ...]]]


def declare_at(method: Method, params: Params, sites: Sequence[Site]) -> Declared:
    """The method's declarations over ``sites``; sites where it declares nothing are left out.

    Raises:
        PluginError: the plugin raises, repeats a name, or declares a base tensor of another shape.
    """
    declared: Declared = []
    for site in sites:
        try:
            decls = tuple(method.module.declare(params, site))
        except Exception as error:
            raise PluginError(method.id, f"declare fails: {type(error).__name__}: {error}", where=site.path) from error
        _check(method, site, decls)
        if decls:
            declared.append((site, decls))
    return declared


def tensor_key(index: int, site: Site, decl: ParamDecl) -> str:
    """The name under which the host holds and saves a declared tensor of placement ``index``.

    A base tensor is named by its place, whichever placement trains it; shared ones by their share name.
    """
    if decl.base:
        return f"base.{decl.share or site.path}.{decl.base}"
    return f"{index}.{decl.share or site.path}.{decl.name}"


def count_tensors(placements: Iterable[Declared]) -> dict[str, int]:
    """Scalars by tensor name over all placements, each shared tensor once."""
    return {
        tensor_key(index, site, decl): decl.count
        for index, declared in enumerate(placements)
        for site, decls in declared
        for decl in decls
    }


def fit_params(method: Method, params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The method's parameters sized to a budget.

    Raises:
        ValueError: the method cannot be sized, or its smallest size exceeds the budget.
        PluginError: its answer exceeds the budget.
    """
    if not isinstance(method.module, Fits):
        total = sum(count_tensors([declare_at(method, params, sites)]).values())
        if total > budget:
            raise ValueError(f"{method.id} has no size to choose and trains {total:,} parameters here")
        return params
    fitted: Any = method.module.fit(params, sites, budget)
    total = sum(count_tensors([declare_at(method, fitted, sites)]).values())
    if total > budget:
        raise PluginError(method.id, f"fit answered {total:,} parameters for a budget of {budget:,}")
    return method.module.Params.model_validate(fitted.model_dump())


def _check(method: Method, site: Site, decls: tuple[ParamDecl, ...]) -> None:
    names = [decl.name for decl in decls]
    if len(set(names)) != len(names):
        raise PluginError(method.id, f"declares a name twice: {names}", where=site.path)
    for decl in decls:
        expected = {"weight": site.shape, "bias": (site.d_out,), None: decl.shape}[decl.base]
        if tuple(decl.shape) != tuple(expected):
            raise PluginError(method.id, f"declares {decl.base} {decl.shape}, the site has {expected}", where=site.path)
        if decl.base == "bias" and not site.has_bias:
            raise PluginError(method.id, "declares the bias of a site without one", where=site.path)
