"""Importing a plugin's modules under the namespace ``studio_plugins``."""

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from pydantic import ValidationError

from studio.api.methods import AddsTokens, DeclaresOver, Fits, MethodParams
from studio.api.params import Params, ui
from studio.api.sites import ParamDecl, Site, Traits
from studio.core.errors import PluginError
from studio.core.problems import Problem, did_you_mean, plain_reason, short
from studio.extensions.registry import Plugin


@dataclass(frozen=True)
class LoadedMethod:
    """A method plugin whose torch-free side is loaded in this process; see ``methods.Method``."""

    plugin: Plugin
    module: MethodParams

    @property
    def id(self) -> str:
        return self.plugin.id

    @property
    def traits(self) -> Traits:
        return self.module.traits

    @property
    def chooses(self) -> bool:
        """Whether what it declares at one site depends on the others."""
        return isinstance(self.module, DeclaresOver)

    @property
    def can_fit(self) -> bool:
        """Whether the method can be sized to a budget."""
        return isinstance(self.module, Fits)

    def params_schema(self) -> dict[str, Any]:
        """The JSON schema of the parameters, with the form hints of ``ui``."""
        return self.module.Params.model_json_schema()

    def declare(self, params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
        """What the method declares at each of ``sites``, by path.

        Raises:
            PluginError: the plugin raises.
        """
        place = ""
        try:
            if isinstance(self.module, DeclaresOver):
                return self.module.declare_over(params, sites)
            by_path = {}
            for site in sites:
                place = site.path
                by_path[place] = tuple(self.module.declare(params, site))
            return by_path
        except Exception as error:
            wrong = f"declare fails: {type(error).__name__}: {error}"
            raise PluginError(self.id, wrong, where=place, hint=_hint(self.plugin, error)) from error

    def fit(self, params: Params, sites: Sequence[Site], budget: int) -> Params:
        """The parameters sized to a budget; see ``api.methods.Fits``.

        Raises:
            ValueError: the smallest size exceeds the budget, or what was sized is no longer accepted.
        """
        assert isinstance(self.module, Fits)
        try:
            fitted: Any = self.module.fit(params, sites, budget)
            return self.module.Params.model_validate(fitted.model_dump())
        except ValidationError as error:
            wrong = param_problem(error.errors()[0], "params", self.id, [])
            raise ValueError(f"{wrong.where} {wrong.message}") from error

    def extra_tokens(self, params: Params) -> int:
        """How many virtual tokens every sequence grows by."""
        return self.module.extra_tokens(params) if isinstance(self.module, AddsTokens) else 0

    def parse(self, raw: dict[str, Any], where: str) -> tuple[Params | None, list[Problem]]:
        """The plugin's parameters, or every problem with them; ``where`` is the spec path of ``raw``."""
        try:
            return self.module.Params.model_validate(raw), []
        except ValidationError as error:
            known = list(self.module.Params.model_fields)
            return None, [param_problem(entry, where, self.id, known) for entry in error.errors()]

    def math(self) -> ModuleType | None:
        """The torch side, imported now; None if the method only trains base tensors."""
        name = self.plugin.manifest.entry.method
        return None if name is None else load_module(self.plugin, name)


@cache
def load_method(plugin: Plugin) -> LoadedMethod:
    """The torch-free side of a method plugin.

    Raises:
        PluginError: the module does not import or lacks a part.
    """
    module = load_module(plugin, plugin.manifest.entry.params)
    for part in ("Params", "traits"):
        if not hasattr(module, part):
            raise PluginError(plugin.id, f"{module.__name__} lacks {part!r}", where=str(module.__file__))
    if not hasattr(module, "declare") and not hasattr(module, "declare_over"):
        raise PluginError(plugin.id, f"{module.__name__} lacks 'declare'", where=str(module.__file__))
    return LoadedMethod(plugin, cast("MethodParams", module))


def param_problem(entry: Any, where: str, method_id: str, known: list[str]) -> Problem:
    """What pydantic says of one parameter, as a problem of the spec; ``known`` are the parameters there are."""
    place = ".".join([where, *(str(part) for part in entry["loc"])])
    if entry["type"] == "extra_forbidden":
        return Problem(place, f"is not a parameter of {method_id}", did_you_mean(str(entry["loc"][-1]), known))
    return Problem(
        place,
        f"{plain_reason(str(entry['msg']))}, got {short(entry['input'])}",
        f"see `pet-studio methods show {method_id}`",
    )


def load_module(plugin: Plugin, name: str) -> ModuleType:
    """Import ``name`` of a plugin's folder as ``studio_plugins.<id>.<name>``, the id's hyphens as underscores."""
    package = f"studio_plugins.{plugin.id.replace('-', '_')}"
    _ensure_package("studio_plugins", None)
    _ensure_package(package, plugin.folder)
    try:
        return importlib.import_module(f"{package}.{name}")
    except (Exception, SystemExit) as error:
        wrong = f"does not import: {type(error).__name__}: {error}"
        where = str(plugin.folder / f"{name}.py")
        raise PluginError(plugin.id, wrong, where=where, hint=_hint(plugin, error)) from error


def _hint(plugin: Plugin, error: BaseException) -> str:
    """The remedy for what authors most often write: a sibling's bare name, an argument that there is not."""
    if isinstance(error, ModuleNotFoundError) and (plugin.folder / f"{error.name}.py").is_file():
        return f"inside the plugin it is studio_plugins.{plugin.id.replace('-', '_')}.{error.name}"
    unknown = re.match(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if unknown is None or unknown[1] not in _CALLED:
        return ""
    names = list(inspect.signature(_CALLED[unknown[1]]).parameters)
    close = did_you_mean(unknown[2], names)
    taken = f"{unknown[1]} takes {', '.join(names)}"
    return f"{close} {taken}" if close.startswith("did") else taken


_CALLED: dict[str, Callable[..., Any]] = {"Traits": Traits, "ParamDecl": ParamDecl, "ui": ui}


def _ensure_package(name: str, folder: Path | None) -> None:
    known = sys.modules.get(name)
    if known is not None and (folder is None or list(known.__path__) == [str(folder)]):
        return
    for stale in [module for module in sys.modules if module.startswith(f"{name}.")]:
        del sys.modules[stale]  # another folder of that name was loaded before
    package = ModuleType(name)
    package.__path__ = [str(folder)] if folder else []
    sys.modules[name] = package
