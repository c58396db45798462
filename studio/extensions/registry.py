"""Which plugins there are, listed from their manifests alone."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.core.errors import PluginError, StudioError, UserError
from studio.core.paths import bundled_plugins, home
from studio.core.problems import did_you_mean
from studio.extensions.announced import find_announced
from studio.extensions.choices import choices_file, read_choices
from studio.extensions.manifest import Manifest, PluginKind, read_manifest

Origin = Literal["bundled", "peft", "home", "installed"]
OURS: frozenset[Origin] = frozenset({"bundled", "peft"})  # on until turned off, and run in this process


@dataclass(frozen=True)
class Plugin:
    """A plugin found in a folder: it ships with the studio, lies in the user's home, or pip installed it.

    The folder of one of peft's methods is the table that lists it.
    """

    manifest: Manifest
    folder: Path
    origin: Origin = "bundled"

    @property
    def id(self) -> str:
        return self.manifest.id


@dataclass(frozen=True)
class Registry:
    """The plugins that can be used, those that are turned off, and what is wrong with the others."""

    plugins: dict[str, Plugin]
    disabled: dict[str, Plugin]
    errors: tuple[PluginError, ...]

    def of_kind(self, kind: PluginKind) -> list[Plugin]:
        """The plugins of a kind, sorted by title."""
        chosen = [plugin for plugin in self.plugins.values() if plugin.manifest.kind == kind]
        return sorted(chosen, key=lambda plugin: plugin.manifest.title.lower())

    def get(self, plugin_id: str, kind: PluginKind) -> Plugin:
        """The plugin with this id; UserError with the closest known ids if there is none of that kind."""
        plugin = self.plugins.get(plugin_id)
        if plugin is not None and plugin.manifest.kind == kind:
            return plugin
        if plugin_id in self.disabled:
            raise UserError(f"{plugin_id} is disabled", hint=f"`pet-studio plugin enable {plugin_id}` turns it on")
        known = [p.id for p in self.of_kind(kind)]
        raise UserError(f"there is no {kind} {plugin_id!r}", hint=did_you_mean(plugin_id, known))

    def find(self, plugin_id: str) -> Plugin:
        """The plugin with this id, on or off; UserError with the closest known ids if there is none."""
        known = {**self.disabled, **self.plugins}
        if plugin_id not in known:
            raise UserError(f"there is no plugin {plugin_id!r}", hint=did_you_mean(plugin_id, known))
        return known[plugin_id]


def discover(folders: Iterable[Path] | None = None) -> Registry:
    """Read every manifest; damage becomes an error entry.

    Bundled plugins and peft's methods come first, then those in the user's home, then those of installed distributions;
    an id belongs to the first. The former are on and the others off until the user chooses. With ``folders``, only what
    lies below them is read, as if it were bundled and with no choice of the user's.
    """
    if folders is not None:
        return _read(((folder, "bundled") for root in folders for folder in _below(root)), {})
    installed, errors = find_announced()
    choices: dict[str, bool] = {}
    try:
        choices = read_choices()
    except UserError as error:
        errors.append(PluginError(choices_file().name, error.message, where=error.where, hint=error.hint))
    found: list[tuple[Path, Origin]] = [
        *((folder, "bundled") for folder in _below(bundled_plugins())),
        *((folder, "home") for folder in _below(home().plugins)),
        *((folder, "installed") for folder in installed),
    ]
    from studio.extensions.bridge import bridged  # which makes plugins too

    return _read(found, choices, errors, bridged())


def find_plugin(plugin_id: str, kind: PluginKind) -> Plugin:
    """The usable plugin with this id, as ``discover().get`` finds it; of the bundled ones no other manifest is read."""
    with suppress(StudioError):  # whatever is wrong, ``discover`` tells it
        manifest = read_manifest(bundled_plugins() / plugin_id)
        if (manifest.id, manifest.kind) == (plugin_id, kind) and read_choices().get(plugin_id, True):
            return Plugin(manifest, bundled_plugins() / plugin_id)
    return discover().get(plugin_id, kind)


def _below(root: Path) -> list[Path]:
    """The plugin folders in ``root``; a dot starts the names of half-made ones."""
    return sorted(path.parent for path in root.glob("[!.]*/plugin.toml") if path.is_file())


def _read(
    found: Iterable[tuple[Path, Origin]],
    choices: dict[str, bool],
    errors: Iterable[PluginError] = (),
    listed: Iterable[Plugin] = (),
) -> Registry:
    known = {plugin.id: plugin for plugin in listed}
    wrong = list(errors)
    for folder, origin in found:
        try:
            manifest = read_manifest(folder)
        except PluginError as error:
            wrong.append(error)
            continue
        if manifest.id in known:
            other = known[manifest.id].folder
            wrong.append(PluginError(manifest.id, f"is also in {other}; that one is used", where=str(folder)))
            continue
        known[manifest.id] = Plugin(manifest, folder, origin)
    on = {plugin.id: choices.get(plugin.id, plugin.origin in OURS) for plugin in known.values()}
    return Registry(
        plugins={plugin.id: plugin for plugin in known.values() if on[plugin.id]},
        disabled={plugin.id: plugin for plugin in known.values() if not on[plugin.id]},
        errors=tuple(wrong),
    )
