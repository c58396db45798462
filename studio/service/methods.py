"""The PET methods there are, and exact counts of what they would train."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.api import Site
from studio.core.errors import InvalidSpecError, StudioError, UserError
from studio.core.facts import ModelFacts
from studio.core.problems import Problem
from studio.extensions.declaring import count_added, count_tensors, declare_at, fit_params, named_tensors
from studio.extensions.methods import Method, open_method
from studio.extensions.registry import OURS, Origin, discover, find_plugin
from studio.models.sites import find_sites
from studio.models.where import select
from studio.service.libraries import models

if TYPE_CHECKING:
    from studio.service.check_reports import Checks

TENSOR_HEADER_BYTES = 120  # of a safetensors header entry, for file sizes before anything is written
README_BYTES = 65_536  # as much of a README as is shown


@dataclass(frozen=True)
class MethodInfo:
    """A method as lists and forms show it."""

    id: str
    kind: str
    title: str
    summary: str
    paper: str
    formula: str
    version: str
    params_schema: dict[str, Any]
    traits: dict[str, Any]
    tags: tuple[str, ...]
    readme: str
    origin: Origin
    checks: "Checks | None"


@dataclass(frozen=True)
class Count:
    """Exact numbers for one method on one model; bytes are of the adapter file and of AdamW's two fp32 averages.

    ``paths``: the sites with tensors of the method. ``extra_tokens``: how many virtual tokens every sequence grows by.
    """

    trainable: int
    total: int
    fraction: float
    tensors: int
    file_bytes: int
    optimizer_bytes: int
    params: dict[str, Any]
    where: str
    sites: int
    paths: tuple[str, ...]
    extra_tokens: int


def list_methods() -> list[MethodInfo]:
    """Every usable method, sorted by title; plugins that do not load are in ``method_errors``."""
    return [info for info, _ in _load_all() if info is not None]


def method_errors() -> list[StudioError]:
    """What is wrong with the method plugins that cannot be used, each naming its plugin."""
    return [*discover().errors, *(error for _, error in _load_all() if error is not None)]


def get_method(method_id: str) -> MethodInfo:
    """One method; UserError with the closest ids if there is none."""
    return _info(open_method(find_plugin(method_id, "method")))


def count(
    model: str,
    method_id: str,
    params: dict[str, Any] | None = None,
    where: str | None = None,
    budget: int | None = None,
) -> Count:
    """What ``method_id`` would train on ``model`` (a source such as ``library:NAME``), without its weights.

    Raises:
        InvalidSpecError: wrong parameters, or a budget that cannot be met.
        UserError: unknown model or method, or a ``where`` that selects nothing.
    """
    facts = models().resolve(model)
    method = open_method(find_plugin(method_id, "method"))
    return count_on(facts, find_sites(Path(facts.path)), method, params or {}, where, budget)


def count_on(
    facts: ModelFacts,
    sites: Sequence[Site],
    method: Method,
    params: dict[str, Any],
    where: str | None = None,
    budget: int | None = None,
) -> Count:
    """``count`` for a model whose sites are known."""
    families = method.traits.families
    if families and facts.kind not in families:
        raise UserError(f"{method.id} works on {' and '.join(families)} models only", where=facts.name)
    parsed, problems = method.parse(params, "params")
    if parsed is None:
        raise InvalidSpecError(problems)
    expression = where or method.traits.where
    chosen = [site for site in select(sites, expression) if method.traits.takes(site)]
    nothing = UserError(f"{method.id} trains nothing where {expression!r}", where=facts.name)
    if not chosen:
        raise nothing
    try:
        fitted = parsed if budget is None else fit_params(method, parsed, chosen, budget)
    except ValueError as error:
        raise InvalidSpecError(
            [Problem("budget", f"cannot be met: {error}", "raise it or choose fewer sites")]
        ) from error
    declared = declare_at(method, fitted, chosen)
    tensors = count_tensors([declared])
    if not tensors:
        raise nothing
    trainable = sum(tensors.values())
    total = facts.params + count_added([declared])
    saved = [decl.file_bytes for decl in named_tensors([declared]).values() if decl.file_bytes]
    return Count(
        trainable=trainable,
        total=total,
        fraction=trainable / total,
        tensors=len(tensors),
        file_bytes=sum(saved) + TENSOR_HEADER_BYTES * len(saved),
        optimizer_bytes=8 * trainable,
        params=fitted.model_dump(mode="json"),
        where=expression,
        sites=len(declared),
        paths=tuple(site.path for site, _ in declared),
        extra_tokens=method.extra_tokens(fitted),
    )


def _load_all() -> list[tuple[MethodInfo | None, StudioError | None]]:
    from studio.extensions.descriptions import describe_all  # counting one method needs no helpers

    plugins = discover().of_kind("method")
    describe_all(plugin for plugin in plugins if plugin.origin not in OURS)  # side by side, for the cache
    found: list[tuple[MethodInfo | None, StudioError | None]] = []
    for plugin in plugins:
        try:
            found.append((_info(open_method(plugin)), None))
        except StudioError as error:
            found.append((None, error))
    return found


def _info(method: Method) -> MethodInfo:
    from studio.service.check_reports import checks_of  # counting asks for no report

    manifest = method.plugin.manifest
    return MethodInfo(
        id=manifest.id,
        kind=manifest.kind,
        title=manifest.title,
        summary=manifest.summary,
        paper=manifest.paper,
        formula=manifest.formula,
        version=manifest.version,
        params_schema=method.params_schema(),
        traits=asdict(method.traits),
        tags=manifest.tags,
        readme=_readme(method.plugin.folder / "README.md"),
        origin=method.plugin.origin,
        checks=checks_of(method.plugin),
    )


def _readme(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(README_BYTES).decode(errors="replace")
