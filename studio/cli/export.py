"""export: a run's result in a format that other programs load."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from studio.cli.arguments import Json, RunName
from studio.cli.output import print_json, say


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    app.command()(export)


def export(
    run: RunName,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder.")],
    to: Annotated[Literal["peft"], typer.Option("--to", help="The format.")] = "peft",
    json: Json = False,
) -> None:
    """Copy a run's adapter to a new folder, as peft loads it."""
    from studio.service import runs
    from studio.service.export import export_peft

    folder = export_peft(runs.find_run(run).id, out.absolute())
    print_json({"format": to, "folder": str(folder)}) if json else say(f"{folder}")
