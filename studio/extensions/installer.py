"""Bringing plugins into the user's home and taking them out; a plugin is there whole or not at all."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

from studio.core.errors import UserError
from studio.core.paths import home
from studio.extensions.choices import choose
from studio.extensions.manifest import read_manifest
from studio.extensions.registry import Plugin, discover
from studio.extensions.unpacking import unpack

_OLD = ".{}.replaced"


def install(source: Path, *, replace: bool = False) -> Plugin:
    """Copy the one plugin of a folder, zip or wheel into the user's home and enable it.

    Raises:
        UserError: what ``unpack`` refuses, no plugin or several, an id that is taken, or a wheel whose requirements
            are not installed.
        PluginError: its manifest is wrong.
    """
    if source.is_dir() and not (source / "plugin.toml").is_file():
        raise UserError("has no plugin.toml", where=str(source), hint="name the plugin's own folder")
    with staging() as scratch:
        unpack(source, scratch / "unpacked")
        found = _the_plugin(scratch / "unpacked", source)
        _check_requirements(scratch / "unpacked", source)
        plugin_id = read_manifest(found).id
        check_free(plugin_id, replace=replace)
        put(found, plugin_id)
    choose(plugin_id, True)
    return discover().find(plugin_id)


@contextmanager
def staging() -> Iterator[Path]:
    """A folder beside the plugins, so that a finished one is renamed into place; gone afterwards."""
    home().plugins.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=home().plugins, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def check_free(plugin_id: str, *, replace: bool = False) -> None:
    """UserError if a plugin that may not be replaced has this id."""
    registry = discover()
    known = {**registry.disabled, **registry.plugins}.get(plugin_id)
    if known is not None and known.origin != "home":
        raise UserError(
            f"the id {plugin_id!r} belongs to the {known.origin} plugin in {known.folder}", hint="choose another id"
        )
    if (home().plugins / plugin_id).exists() and not replace:
        raise UserError(
            f"there is a plugin {plugin_id!r} already", where=str(home().plugins / plugin_id),
            hint=f"choose another id, or remove that one first: `pet-studio plugin remove {plugin_id}`; "
            "`plugin install --replace` puts another in its place",
        )  # fmt: skip


def put(folder: Path, plugin_id: str) -> None:
    """Rename a finished plugin folder to its place; the one that it replaces is kept until the new one is there."""
    target, old = home().plugins / plugin_id, home().plugins / _OLD.format(plugin_id)
    if old.exists() and not target.exists():
        old.rename(target)  # an earlier replacement was cut off between its two renames
    _delete(old)
    if target.exists():
        target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    _delete(old)


def _delete(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def remove(name: str) -> None:
    """Delete a plugin from the user's home; one that cannot be used is named by its folder.

    Raises:
        UserError: there is none, or it lies elsewhere.
    """
    registry = discover()
    known = {**registry.disabled, **registry.plugins}
    taken = {plugin.folder for plugin in known.values()}
    broken = {folder.name: folder for folder in home().plugins.glob("[!.]*") if folder not in taken}
    folder = broken[name] if name in broken and name not in known else _own_folder(registry.find(name))
    with staging() as scratch:
        folder.rename(scratch / "removed")
    choose(name, None)


def _own_folder(plugin: Plugin) -> Path:
    if plugin.origin != "home":
        raise UserError(
            f"{plugin.id} is {plugin.origin}, not in your plugins folder", where=str(plugin.folder),
            hint=f"`pet-studio plugin disable {plugin.id}` hides it",
        )  # fmt: skip
    return plugin.folder


def _the_plugin(root: Path, source: Path) -> Path:
    found = sorted(path.parent for path in root.rglob("plugin.toml"))
    if len(found) != 1:
        several = ", ".join(folder.relative_to(root).as_posix() for folder in found)
        raise UserError(
            f"holds several plugins: {several}" if found else "holds no plugin.toml",
            where=str(source), hint="install one plugin at a time",
        )  # fmt: skip
    return found[0]


def _check_requirements(root: Path, source: Path) -> None:
    """UserError if a wheel requires, whatever the platform, distributions that are not installed."""
    metadata = "\n".join(
        path.read_text(encoding="utf-8", errors="replace") for path in root.glob("*.dist-info/METADATA")
    )
    needed = re.findall(r"^Requires-Dist: *([A-Za-z0-9._-]+)[^;\n]*$", metadata, re.MULTILINE)
    missing = [name for name in needed if name.lower() != "pet-studio" and not _is_installed(name)]
    if missing:
        raise UserError(
            f"needs {', '.join(missing)}, which this Python lacks", where=str(source),
            hint="install them with pip, or the whole wheel: the studio finds plugins that pip installed",
        )  # fmt: skip


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
