"""What a method declares over sites, checked and counted; the same numbers for window, file and worker."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from studio.api import ParamDecl, Params, Site
from studio.api.sites import Kept
from studio.core.errors import PluginError
from studio.extensions.methods import Method

if TYPE_CHECKING:
    from studio.core.spec import Gate

Declared = list[tuple[Site, tuple[ParamDecl, ...]]]
GATE = "_gate"


def declare_at(method: Method, params: Params, sites: Sequence[Site], gate: "Gate" = None) -> Declared:
    """The method's declarations over ``sites``, the host's gate included; sites with none are left out.

    Raises:
        PluginError: the plugin raises, repeats a name, or declares a base tensor of another shape.
    """
    declared: Declared = []
    by_path = method.declare(params, sites)
    for site in sites:
        decls = tuple(by_path.get(site.path, ()))
        _check(method, site, decls)
        if decls:
            declared.append((site, tuple(_copied(decl, site) for decl in (*decls, *_gates(gate, site)))))
    return declared


def planned_sites(method: Method, sites: Sequence[Site], declared: Declared) -> tuple[str, ...]:
    """The paths a plan names, so that declaring over them again gives the same."""
    return tuple(site.path for site in (sites if method.chooses else [site for site, _ in declared]))


def tensor_key(index: int, site: Site, decl: ParamDecl) -> str:
    """The name under which the host holds and saves a declared tensor of placement ``index``.

    A base tensor is named by its place, whichever placement trains it; shared ones by their share name.
    """
    if decl.base:
        return f"base.{decl.share or (site.tied_to if decl.base == 'weight' else None) or site.path}.{decl.base}"
    return f"{index}.{decl.share or site.path}.{decl.name}"


def named_tensors(placements: Iterable[Declared]) -> dict[str, ParamDecl]:
    """Every declared tensor by its name over all placements, each shared tensor once."""
    return {
        tensor_key(index, site, decl): decl
        for index, declared in enumerate(placements)
        for site, decls in declared
        for decl in decls
    }


def count_tensors(placements: Iterable[Declared]) -> dict[str, int]:
    """Trainable scalars by tensor name over all placements, each shared tensor once."""
    return {name: decl.count for name, decl in named_tensors(placements).items() if decl.role == "trained"}


def count_added(placements: Iterable[Declared]) -> int:
    """Trainable scalars that the base model does not have itself."""
    return sum(decl.count for decl in named_tensors(placements).values() if decl.base is None)


def edited_sites(placements: Iterable[tuple[Method, Declared]]) -> dict[str, tuple[Kept, ...]]:
    """What is kept where weights are changed at each pass, by path: of methods that only merge, and at all experts."""
    return {
        site.path: method.traits.edits or ()
        for method, declared in placements
        for site, decls in declared
        if (method.traits.edits is not None or site.copies > 1) and any(decl.base is None for decl in decls)
    }


def fit_params(method: Method, params: Params, sites: Sequence[Site], budget: int, gate: "Gate" = None) -> Params:
    """The method's parameters sized to a budget.

    Raises:
        ValueError: the method cannot be sized, or its smallest size exceeds the budget.
        PluginError: its answer exceeds the budget.
    """
    gates = sum(decl.count for site in sites for decl in _gates(gate, site))
    fitted = method.fit(params, sites, budget - gates) if method.can_fit else params
    total = sum(count_tensors([declare_at(method, fitted, sites, gate)]).values())
    if total <= budget:
        return fitted
    if method.can_fit:
        raise PluginError(method.id, f"fit answered {total:,} parameters for a budget of {budget:,}")
    raise ValueError(f"{method.id} has no size to choose and trains {total:,} parameters here")


def _gates(gate: "Gate", site: Site) -> tuple[ParamDecl, ...]:
    """The host's own tensor at a gated site: a factor, or a linear map of the site's input to one."""
    if gate == "learned":
        return (ParamDecl(GATE, (1,), init="ones", decay=False),)
    if gate == "input":
        return (ParamDecl(GATE, (site.d_in + 1,), decay=False),)
    return ()


def _copied(decl: ParamDecl, site: Site) -> ParamDecl:
    """The declaration for one map, made for each of the site's copies."""
    if site.copies == 1 or decl.base or decl.share:
        return decl
    return replace(decl, shape=(site.copies, *decl.shape))


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
        if decl.role == "trained" and decl.dtype != "float32":
            raise PluginError(method.id, f"declares a trained {decl.name} of {decl.dtype}", where=site.path)
