"""export: a run's result in a format that other programs load."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from studio.cli.arguments import Json, RunName
from studio.cli.output import print_json, say


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    app.command()(export)


def export(
    run: RunName,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder.")],
    to: Annotated[Literal["peft", "merged"], typer.Option("--to", help="The format.")] = "peft",
    json: Json = False,
) -> None:
    """Write a run's result for other programs.

    "peft": the adapter as peft loads it; "merged": the whole model, in the precision that the base is stored in.
    """
    from studio.service import runs
    from studio.service.export import export_merged, export_peft

    run_id = runs.find_run(run).id
    if to == "peft":
        written: dict[str, Any] = {"folder": str(export_peft(run_id, out.absolute()))}
    else:
        written = export_merged(run_id, out.absolute())
    if json:
        print_json({"format": to, **written})
        return
    say(written["folder"])
    if to == "merged":
        say(f"in {written['precision']}, as the base is stored")
