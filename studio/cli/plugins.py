"""plugin …: what extends the studio."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.arguments import Json, Yes
from studio.cli.output import confirm, print_json, print_table, say, to_plain, warn

if TYPE_CHECKING:
    from studio.service.check_reports import CheckResult, Report
    from studio.service.plugins import PluginInfo

app = typer.Typer(help="Plugins: what extends the studio.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the plugin.")]
Kind = Annotated[str, typer.Option("--kind", metavar="KIND", help="What the plugin is; method so far.")]
Folder = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Make its folder here; default: your plugins, enabled.")
]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the plugins, and what is wrong with those that cannot be used."""
    from studio.service.plugins import list_plugins

    found = list_plugins()
    errors = [info for info in found if info.error]
    if json:
        wrong = [{"plugin": info.id, "message": info.error} for info in errors]
        print_json({"plugins": [to_plain(info) for info in found], "errors": wrong})
        return
    for info in errors:
        warn(info.error)
    print_table(
        ["Id", "Kind", "Title", "Version", "From", "State"],
        [(p.id, p.kind or "-", p.title or "-", p.version or "-", p.origin or "-", _state(p)) for p in found],
    )


@app.command()
def new(plugin_id: Id, kind: Kind = "method", out: Folder = None, json: Json = False) -> None:
    """Make a plugin that works, to be edited."""
    from studio.service import plugins

    folder = plugins.new(plugin_id, kind, out)
    print_json({"id": plugin_id, "folder": folder}) if json else say(f"made {folder}")


@app.command()
def check(
    plugin: Annotated[str, typer.Argument(metavar="PATH", help="A plugin's folder, or its id.")],
    every: Annotated[bool, typer.Option("--all", help="Show what passed and what does not apply, too.")] = False,
    json: Json = False,
) -> None:
    """Check that a plugin does what it declares."""
    from studio.service import plugins

    report = plugins.check(plugins.folder_of(plugin))
    if json:
        print_json(report)
    else:
        _print_report(report, every)
    raise typer.Exit(0 if report.passed else 1)


def _print_report(report: "Report", every: bool) -> None:
    """What failed, each cause once; with ``every`` all results before it."""
    if every:
        rows = [(r.family or "-", r.check, r.status, r.detail) for r in report.results]
        print_table(["Family", "Check", "Outcome", "Detail"], rows)
    failed = [result for result in report.results if result.status == "failed"]
    if failed:
        print_table(["Failed", "What was found"], [(_places(same), same[0].detail) for same in _by_cause(failed)])
    passed = sum(result.status == "passed" for result in report.results)
    counts = f"{passed} passed, {len(failed)} failed"
    works = f"; works on {', '.join(report.families)}" if report.passed else ""
    say(f"{report.id} {report.version} {'passes' if report.passed else 'fails'}: {counts}{works}")


def _by_cause(failed: "list[CheckResult]") -> "list[list[CheckResult]]":
    """Results that differ in numbers and places only, together."""
    causes: dict[str, list[CheckResult]] = {}
    for result in failed:
        causes.setdefault(re.sub(r"^\S+: |\d[\d.,]*(e[+-]\d+)?", "#", result.detail), []).append(result)
    return list(causes.values())


def _places(same: "list[CheckResult]") -> str:
    """Where one cause was found: "merge on llama, bert", or how often if that is more than a few words."""
    checks = list(dict.fromkeys(result.check for result in same))
    families = list(dict.fromkeys(result.family for result in same if result.family))
    what = checks[0] if len(checks) == 1 else f"{len(checks)} checks"
    if not families:
        return what
    return f"{what} on {families[0] if len(families) == 1 else f'{len(families)} families'}"


@app.command()
def install(
    path: Annotated[Path, typer.Argument(help="A plugin's folder, .zip or .whl.")],
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of an older version.")] = False,
    json: Json = False,
) -> None:
    """Copy a plugin into your plugins folder, and enable it."""
    from studio.service import plugins

    _tell("installed", plugins.install(path, replace=replace), json)


@app.command()
def enable(plugin_id: Id, json: Json = False) -> None:
    """Turn a plugin on, so that its code runs on this machine."""
    from studio.service import plugins

    _tell("enabled", plugins.enable(plugin_id), json)


@app.command()
def disable(plugin_id: Id, json: Json = False) -> None:
    """Turn a plugin off; it stays where it is."""
    from studio.service import plugins

    _tell("disabled", plugins.disable(plugin_id), json)


@app.command()
def remove(plugin_id: Id, yes: Yes = False, json: Json = False) -> None:
    """Delete a plugin from your plugins folder."""
    from studio.service import plugins

    confirm(f"Delete plugin {plugin_id} from your plugins folder?", yes)
    plugins.remove(plugin_id)
    print_json({"removed": plugin_id}) if json else say(f"removed {plugin_id}")


def _tell(done: str, info: "PluginInfo", json: bool) -> None:
    print_json(info) if json else say(f"{done} {info.id} {info.version}")
    if info.error:
        warn(info.error)
        raise typer.Exit(1)


def _state(info: "PluginInfo") -> str:
    return "error" if info.error else "enabled" if info.enabled else "disabled"
