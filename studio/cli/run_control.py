"""runs stop|pause|resume|save-now|delete: what is asked of a run's worker, or done once it is gone."""

from typing import Annotated

import typer

from studio.cli.arguments import Json, RunName, Yes
from studio.cli.output import confirm, print_json, say


def register(app: typer.Typer) -> None:
    """Add the commands to the group of runs."""
    app.command()(stop)
    app.command()(pause)
    app.command()(resume)
    app.command("save-now")(save_now)
    app.command()(delete)


def stop(
    run: RunName,
    kill: Annotated[bool, typer.Option("--kill", help="End a worker that does not answer.")] = False,
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Wait so long for it to end.")] = 0,
    json: Json = False,
) -> None:
    """Save a checkpoint at the next step and end the run."""
    from studio.service import control_run, runs

    run_id = runs.find_run(run).id
    if kill:
        control_run.kill_run(run_id)
    else:
        control_run.stop(run_id)
        if wait:
            control_run.wait_until_ended(run_id, wait)
    _tell_state(run_id, json)


def pause(run: RunName, json: Json = False) -> None:
    """Save a checkpoint and free the device; resume continues."""
    from studio.service import control_run, runs

    run_id = runs.find_run(run).id
    control_run.pause(run_id)
    _tell_state(run_id, json)


def resume(
    run: RunName, follow: Annotated[bool, typer.Option("--follow", help="Follow it.")] = False, json: Json = False
) -> None:
    """Continue a paused, stopped, failed or crashed run."""
    from studio.cli.follow import follow as follow_run
    from studio.service import control_run, runs

    run_id = runs.find_run(run).id
    control_run.resume(run_id)
    if follow:
        raise typer.Exit(follow_run(run_id, as_json=json))
    print_json({"id": run_id, "state": "starting"}) if json else say(f"{run_id}: starting")


def save_now(run: RunName, json: Json = False) -> None:
    """Save a checkpoint at the next step and go on."""
    from studio.service import control_run, runs

    run_id = runs.find_run(run).id
    control_run.save_now(run_id)
    _tell_state(run_id, json)


def delete(run: RunName, yes: Yes = False, json: Json = False) -> None:
    """Remove a run with its checkpoints and artifacts, for good."""
    from studio.service import runs

    row = runs.find_run(run)
    confirm(f"Delete run {row.id} ({row.name}) with all its files?", yes)
    runs.delete(row.id)
    print_json({"deleted": row.id}) if json else say(f"deleted {row.id}")


def _tell_state(run_id: str, json: bool) -> None:
    from studio.service import runs

    state = runs.show_run(run_id)["state"]
    print_json({"id": run_id, "state": state}) if json else say(f"{run_id}: {state}")
