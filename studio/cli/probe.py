"""probe: what a spec really takes, by a few steps of it."""

from typing import Annotated

import typer

from studio.cli.arguments import Json, Spec
from studio.cli.output import never_cancelled, print_facts, print_json, progress_line
from studio.cli.specs import load, per_step
from studio.core.units import format_bytes


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    app.command()(probe)


def probe(
    spec: Spec,
    steps: Annotated[int, typer.Option(metavar="N", min=2, max=100, help="Steps on the longest rows.")] = 3,
    json: Json = False,
) -> None:
    """Measure memory, time and power by a few real steps.

    They run on the data's longest rows, followed by as many ordinary steps, an evaluation and a checkpoint. Nothing
    of it stays but the figures, which the next estimate of this spec rests on.
    """
    from studio.service.probe import run_probe

    with progress_line() as progress:
        result = run_probe(load(spec), steps=steps, progress=progress, cancelled=never_cancelled)
    if json:
        print_json(result)
        return
    print_facts(
        {
            "Device": result.device + (" (other programs used it too)" if result.shared else ""),
            "Peak memory": f"{format_bytes(result.peak_bytes)}, in: {result.peak_phase}",
            "Rows at once": f"{result.micro_batch}, the longest of {result.longest_row} tokens",
            "Per step": f"{per_step(result.seconds_per_step)}, "
            f"on the longest rows {per_step(result.seconds_per_longest_step)}",
            "Power": "not measured" if result.watts is None else f"{result.watts:.0f} W",
        }
    )
