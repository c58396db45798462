"""Which plugins there are, listed from their manifests alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import PluginError, UserError
from studio.core.paths import bundled_plugins
from studio.core.problems import did_you_mean
from studio.extensions.manifest import Manifest, PluginKind, read_manifest


@dataclass(frozen=True)
class Plugin:
    """A plugin found in a folder."""

    manifest: Manifest
    folder: Path

    @property
    def id(self) -> str:
        return self.manifest.id


@dataclass(frozen=True)
class Registry:
    """The plugins that can be used, and what is wrong with those that cannot."""

    plugins: dict[str, Plugin]
    errors: tuple[PluginError, ...] = ()

    def of_kind(self, kind: PluginKind) -> list[Plugin]:
        """The plugins of a kind, sorted by title."""
        chosen = [plugin for plugin in self.plugins.values() if plugin.manifest.kind == kind]
        return sorted(chosen, key=lambda plugin: plugin.manifest.title.lower())

    def get(self, plugin_id: str, kind: PluginKind) -> Plugin:
        """The plugin with this id; UserError with the closest known ids if there is none of that kind."""
        plugin = self.plugins.get(plugin_id)
        if plugin is None or plugin.manifest.kind != kind:
            known = [p.id for p in self.of_kind(kind)]
            raise UserError(f"there is no {kind} {plugin_id!r}", hint=did_you_mean(plugin_id, known))
        return plugin


def discover(folders: Iterable[Path] | None = None) -> Registry:
    """Read every manifest below ``folders`` (by default the bundled plugins); damage becomes an error entry."""
    plugins: dict[str, Plugin] = {}
    errors: list[PluginError] = []
    for root in folders if folders is not None else (bundled_plugins(),):
        for folder in sorted(p for p in root.iterdir() if (p / "plugin.toml").is_file()):
            try:
                manifest = read_manifest(folder)
            except PluginError as error:
                errors.append(error)
                continue
            if manifest.id in plugins:
                other = plugins[manifest.id].folder
                errors.append(PluginError(manifest.id, f"is also in {other}; that one is used", where=str(folder)))
                continue
            plugins[manifest.id] = Plugin(manifest, folder)
    return Registry(plugins, tuple(errors))
