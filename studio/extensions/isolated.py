"""Third-party methods as the window and the command line see them: every question goes to a helper process."""

import atexit
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from studio.api import ParamDecl, Params, Site, Traits
from studio.core.problems import Problem
from studio.extensions import descriptions
from studio.extensions.descriptions import Description, content_of, describe
from studio.extensions.isolation import Helper
from studio.extensions.registry import Plugin


class IsolatedParams(Params):
    """Parameters as JSON values; the class that checks them lives in the helper."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Parsed(BaseModel):
    params: dict[str, Any] | None
    problems: list[Problem]


class _Fitted(BaseModel):
    params: dict[str, Any] | None = None
    refused: str = ""


_SITES = TypeAdapter(list[Site])
_PARSED, _FITTED, _TOKENS = TypeAdapter(_Parsed), TypeAdapter(_Fitted), TypeAdapter(int)
_DECLARED = TypeAdapter(dict[str, tuple[ParamDecl, ...]])


@dataclass(frozen=True)
class IsolatedMethod:
    """A method whose code runs elsewhere; every call raises PluginError if that goes wrong."""

    plugin: Plugin
    description: Description
    helper: Helper

    @property
    def id(self) -> str:
        return self.plugin.id

    @property
    def traits(self) -> Traits:
        return self.description.traits

    @property
    def chooses(self) -> bool:
        return self.description.chooses

    @property
    def can_fit(self) -> bool:
        return self.description.can_fit

    def params_schema(self) -> dict[str, Any]:
        return self.description.params_schema

    def parse(self, raw: dict[str, Any], where: str) -> tuple[Params | None, list[Problem]]:
        parsed = self.helper.ask(_PARSED, "parse", params=raw, where=where)
        return None if parsed.params is None else IsolatedParams(**parsed.params), parsed.problems

    def declare(self, params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
        return self.helper.ask(_DECLARED, "declare", params=params.model_dump(), sites=_plain(sites))

    def fit(self, params: Params, sites: Sequence[Site], budget: int) -> Params:
        fitted = self.helper.ask(_FITTED, "fit", params=params.model_dump(), sites=_plain(sites), budget=budget)
        if fitted.params is None:
            raise ValueError(fitted.refused)
        return IsolatedParams(**fitted.params)

    def extra_tokens(self, params: Params) -> int:
        return self.helper.ask(_TOKENS, "extra_tokens", params=params.model_dump())


def isolate(plugin: Plugin) -> IsolatedMethod:
    """A third-party method, asked in a helper that stays warm until the plugin's files change.

    Raises:
        PluginError: it cannot be used.
    """
    return IsolatedMethod(plugin, describe(plugin), _warm(plugin))


def forget(plugin_id: str) -> None:
    """End the plugin's helper and what is remembered of it, so that it is asked anew."""
    descriptions.forget(plugin_id)
    with _lock:
        if known := _helpers.pop(plugin_id, None):
            known[1].close()


def close_helpers() -> None:
    """End every helper."""
    with _lock:
        while _helpers:
            _helpers.popitem()[1][1].close()


_helpers: dict[str, tuple[str, Helper]] = {}  # by plugin id, with the content that it runs
_lock = threading.Lock()
atexit.register(close_helpers)


def _warm(plugin: Plugin) -> Helper:
    content = content_of(plugin)
    with _lock:
        known = _helpers.get(plugin.id)
        if known and known[0] == content:
            return known[1]
        if known:
            known[1].close()
        _helpers[plugin.id] = (content, Helper(plugin))
        return _helpers[plugin.id][1]


def _plain(sites: Sequence[Site]) -> Any:
    return _SITES.dump_python(list(sites), mode="json")
