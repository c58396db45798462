"""A PET method as the window and the command line use it, wherever its code runs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from studio.api import ParamDecl, Params, Site, Traits
from studio.core.problems import Problem
from studio.extensions.loader import LoadedMethod, load_method
from studio.extensions.registry import OURS, Plugin

if TYPE_CHECKING:
    from studio.extensions.bridge import BridgedMethod


class Method(Protocol):
    """The torch-free side of a method; any call raises PluginError if the plugin fails."""

    @property
    def plugin(self) -> Plugin: ...

    @property
    def id(self) -> str: ...

    @property
    def traits(self) -> Traits: ...

    @property
    def chooses(self) -> bool:
        """Whether what it declares at one site depends on the others."""
        ...

    @property
    def can_fit(self) -> bool:
        """Whether the method can be sized to a budget."""
        ...

    def params_schema(self) -> dict[str, Any]:
        """The JSON schema of the parameters, with the form hints of ``ui``."""
        ...

    def parse(self, raw: dict[str, Any], where: str) -> tuple[Params | None, list[Problem]]:
        """The plugin's parameters, or every problem with them; ``where`` is the spec path of ``raw``."""
        ...

    def declare(self, params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
        """What the method declares at each of ``sites``, by path."""
        ...

    def fit(self, params: Params, sites: Sequence[Site], budget: int) -> Params:
        """The parameters sized to a budget; ValueError if the smallest size exceeds it."""
        ...

    def extra_tokens(self, params: Params) -> int:
        """How many virtual tokens every sequence grows by."""
        ...


def open_method(plugin: Plugin) -> Method:
    """A method to ask: bundled ones in this process, others in a helper of their own.

    Raises:
        PluginError: it cannot be used.
    """
    if plugin.origin in OURS:
        return load_here(plugin)
    from studio.extensions.isolated import isolate  # our own methods need none of it

    return isolate(plugin)


def load_here(plugin: Plugin) -> "LoadedMethod | BridgedMethod":
    """A method in this process, as a worker needs it.

    Raises:
        PluginError: it does not import or lacks a part.
    """
    if plugin.origin != "peft":
        return load_method(plugin)
    from studio.extensions.bridge import load_bridged  # with a formula for each of peft's methods

    return load_bridged(plugin)
