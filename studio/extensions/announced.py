"""Plugins of installed distributions, found through their entry points without importing them."""

import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from studio.core.errors import PluginError

GROUP = "studio.plugins"  # an entry's value is the package whose folder holds plugin.toml


def find_announced() -> tuple[list[Path], list[PluginError]]:
    """The plugin folders that installed distributions announce, and what is wrong with the other announcements."""
    folders: list[Path] = []
    errors: list[PluginError] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        folder = _folder(entry.module)
        if folder is None:
            errors.append(
                PluginError(entry.name, f"{_owner(entry)} announces {entry.value!r}, which has no plugin.toml")
            )
        else:
            folders.append(folder)
    return folders, errors


def _folder(package: str) -> Path | None:
    """The folder of a dotted package that holds a plugin.toml; only the top level is looked up, nothing runs."""
    top, *below = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    roots = spec.submodule_search_locations if spec else None
    folders = [Path(root).joinpath(*below) for root in roots or ()]
    return next((folder for folder in folders if (folder / "plugin.toml").is_file()), None)


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "a distribution"
