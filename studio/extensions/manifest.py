"""plugin.toml: what a plugin says of itself, read without importing it."""

import tomllib
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.api import API_VERSION
from studio.core.errors import PluginError

PluginKind = Literal[
    "method", "objective", "data", "schedule", "decoder", "evaluator", "searcher", "analysis", "pass", "recipe"
]
KINDS: tuple[PluginKind, ...] = get_args(PluginKind)
ID_PATTERN = r"^[a-z][a-z0-9-]{1,40}$"
MODULE_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
LONGEST_BYTES = 65_536


class Entry(BaseModel):
    """Module names inside the plugin's folder; ``method`` only where there is torch code."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    params: str = Field(default="params", pattern=MODULE_PATTERN)
    method: str | None = Field(default=None, pattern=MODULE_PATTERN)


class Manifest(BaseModel):
    """The content of a ``plugin.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    id: str = Field(pattern=ID_PATTERN)
    kind: PluginKind
    title: str = Field(min_length=1, max_length=60)
    summary: str = Field(min_length=1, max_length=300)
    paper: str = ""
    formula: str = ""
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    api: int
    tags: tuple[str, ...] = ()
    entry: Entry = Entry()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a plugin folder.

    Raises:
        PluginError: missing, not TOML, a wrong or unknown field (all named), or another API version.
    """
    path = folder / "plugin.toml"
    try:
        if path.stat().st_size > LONGEST_BYTES:
            raise PluginError(folder.name, f"plugin.toml is longer than {LONGEST_BYTES} bytes", where=str(path))
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PluginError(folder.name, "has no plugin.toml", where=str(folder)) from error
    except OSError as error:
        raise PluginError(folder.name, f"cannot be read: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PluginError(folder.name, f"plugin.toml is not TOML: {error}", where=str(path)) from error
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise PluginError(folder.name, f"plugin.toml: {found}", where=str(path)) from error
    if manifest.api != API_VERSION:
        raise PluginError(
            manifest.id, f"is written for plugin API {manifest.api}, this studio has {API_VERSION}", where=str(path),
            hint="install a version of the plugin, or of the studio, that matches",
        )  # fmt: skip
    return manifest
