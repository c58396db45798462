"""plugin …: what extends the studio."""

import typer

from studio.cli.arguments import Json
from studio.cli.output import print_json, print_table, to_plain, warn

app = typer.Typer(help="Plugins: what extends the studio.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Plugins: what extends the studio."""


@app.command("list")
def list_(json: Json = False) -> None:
    """List the plugins, and what is wrong with those that cannot be used."""
    from studio.extensions.registry import discover

    registry = discover()
    plugins = sorted(registry.plugins.values(), key=lambda plugin: plugin.id)
    if json:
        print_json(
            {
                "plugins": [{**to_plain(plugin.manifest), "folder": str(plugin.folder)} for plugin in plugins],
                "errors": [{"plugin": error.plugin, "message": error.message} for error in registry.errors],
            }
        )
        return
    for error in registry.errors:
        warn(str(error))
    print_table(
        ["Id", "Kind", "Title", "Version", "Folder"],
        [(p.id, p.manifest.kind, p.manifest.title, p.manifest.version, p.folder) for p in plugins],
    )
