"""train, quickstart, starter: start a run and follow it; the run outlives its follower."""

from typing import Annotated, Any

import typer

from studio.cli.arguments import Json, Spec
from studio.cli.output import never_cancelled, print_facts, print_json, progress_line, say
from studio.cli.specs import load

Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the run goes on by itself.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the top level."""
    app.command()(train)
    app.command()(quickstart)
    app.command()(starter)


def train(
    spec: Spec,
    detach: Detach = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Follow the run until it ends (the default).", show_default=False)
    ] = True,
    json: Json = False,
) -> None:
    """Start a run; its id is the first line printed. Ctrl-C leaves it running."""
    _start(load(spec), detach=detach or not follow, json=json)


def quickstart(
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=100_000, help="Optimizer steps; default: a few.")
    ] = None,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Train the starter model on starter data, on any machine."""
    from studio.service.quickstart import QUICKSTART_STEPS, quickstart_spec

    _fetch_starter()
    _start(quickstart_spec(steps or QUICKSTART_STEPS), detach=detach, json=json)


def starter(json: Json = False) -> None:
    """Bring a small real model and real data into the libraries."""
    models, datasets = _fetch_starter()
    if json:
        print_json({"models": models, "datasets": datasets})
    else:
        print_facts({"Models": ", ".join(models), "Datasets": ", ".join(datasets)})


def _start(raw: dict[str, Any], *, detach: bool, json: bool) -> None:
    from studio.cli.follow import follow
    from studio.service.start_run import start_run

    run_id = start_run(raw)
    say(run_id)
    if not detach:
        raise typer.Exit(follow(run_id, as_json=json))


def _fetch_starter() -> tuple[list[str], list[str]]:
    from studio.core.paths import home
    from studio.service.starter import fetch_starter

    with progress_line() as progress:
        pack = fetch_starter(home(), progress=progress, cancelled=never_cancelled)
    return list(pack.models), list(pack.datasets)
