"""What third-party methods say of themselves, asked once per content of their files and kept on disk."""

import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from studio import __version__
from studio.api import Traits
from studio.core.errors import PluginError
from studio.core.paths import home
from studio.extensions.isolation import TIMEOUT_S, Helper
from studio.extensions.registry import Plugin

_ASKED_AT_ONCE = 4


class Description(BaseModel):
    """The torch-free side of a method as lists and forms need it."""

    model_config = ConfigDict(frozen=True)

    params_schema: dict[str, Any]
    traits: Traits
    chooses: bool
    can_fit: bool


_DESCRIPTION = TypeAdapter(Description)


class _Stored(BaseModel):
    """A description or, in its place, what went wrong; ``content`` names the files it is about."""

    content: str
    description: Description | None = None
    message: str = ""
    where: str = ""
    hint: str = ""


def describe(plugin: Plugin, timeout_s: float = TIMEOUT_S) -> Description:
    """The plugin's description, from the cache as long as its files are the same.

    Raises:
        PluginError: its torch-free side cannot be used; also cached.
    """
    content = content_of(plugin)
    stored = _read(plugin.id, content) or _ask(plugin, content, timeout_s)
    if stored.description is None:
        message = stored.message.removeprefix(f"plugin {plugin.id!r}: ")
        raise PluginError(plugin.id, message, where=stored.where, hint=stored.hint)
    return stored.description


def describe_all(plugins: Iterable[Plugin]) -> dict[str, PluginError]:
    """What is wrong with those of the plugins that cannot be used, by id; a few are asked at once."""
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        return {error.plugin: error for error in pool.map(_trouble, plugins) if error}


def forget(plugin_id: str) -> None:
    """Ask again next time."""
    _cache_file(plugin_id).unlink(missing_ok=True)


def content_of(plugin: Plugin) -> str:
    """A hash of the manifest, all Python files and the studio's version.

    Raises:
        PluginError: one of them cannot be read.
    """
    digest = hashlib.sha256(f"{__version__} {plugin.folder}".encode())
    try:
        for path in sorted([plugin.folder / "plugin.toml", *plugin.folder.rglob("*.py")]):
            digest.update(f"{path.relative_to(plugin.folder)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise PluginError(plugin.id, f"cannot be read: {error.strerror}", where=str(error.filename)) from error
    return digest.hexdigest()


def _trouble(plugin: Plugin) -> PluginError | None:
    try:
        describe(plugin)
    except PluginError as error:
        return error
    return None


def _ask(plugin: Plugin, content: str, timeout_s: float) -> _Stored:
    helper = Helper(plugin, timeout_s)
    try:
        stored = _Stored(content=content, description=helper.ask(_DESCRIPTION, "describe"))
    except PluginError as error:
        stored = _Stored(content=content, message=error.message, where=error.where, hint=error.hint)
    finally:
        helper.close()
    _write(plugin.id, stored)
    return stored


def _cache_file(plugin_id: str) -> Path:
    return home().cache / "plugins" / f"{plugin_id}.json"


def _read(plugin_id: str, content: str) -> _Stored | None:
    try:
        stored = _Stored.model_validate_json(_cache_file(plugin_id).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return stored if stored.content == content else None


def _write(plugin_id: str, stored: _Stored) -> None:
    path = _cache_file(plugin_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    partial.write_text(stored.model_dump_json(), encoding="utf-8")
    partial.replace(path)
