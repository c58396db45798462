"""runs tag|note|rename|star|trash|restore: what a person says about a run."""

from typing import Annotated, Any

import typer

from studio.cli.arguments import Json, RunName
from studio.cli.output import plain, print_facts, print_json


def register(app: typer.Typer) -> None:
    """Add the commands to the group of runs."""
    app.command()(tag)
    app.command()(note)
    app.command()(rename)
    app.command()(star)
    app.command()(trash)
    app.command()(restore)


def tag(
    run: RunName,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to add.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="TAG", help="Tag to take off; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Add tags to a run, take them off, or show them."""
    from studio.service import runs

    run_id = runs.find_run(run).id
    runs.tag(run_id, *(tags or ()))
    runs.untag(run_id, *(remove or ()))
    _tell_labels(run_id, json)


def note(
    run: RunName,
    text: Annotated[str | None, typer.Argument(help="The new notes; an empty text clears them.")] = None,
    json: Json = False,
) -> None:
    """Write a run's notes; without a text, show them."""
    from studio.service import runs

    run_id = runs.find_run(run).id
    if text is not None:
        runs.note(run_id, text)
    _tell_labels(run_id, json)


def rename(run: RunName, name: Annotated[str, typer.Argument(help="The new name.")], json: Json = False) -> None:
    """Give a run another name; its id stays."""
    from studio.service import runs

    run_id = runs.find_run(run).id
    runs.rename(run_id, name)
    _tell_labels(run_id, json)


def star(
    run: RunName, off: Annotated[bool, typer.Option("--off", help="Take the star off.")] = False, json: Json = False
) -> None:
    """Mark a run as a favourite."""
    from studio.service import runs

    run_id = runs.find_run(run).id
    runs.star(run_id, not off)
    _tell_labels(run_id, json)


def trash(run: RunName, json: Json = False) -> None:
    """Hide a run; restore brings it back."""
    from studio.service import runs

    run_id = runs.find_run(run).id
    runs.trash(run_id)
    _tell_labels(run_id, json)


def restore(run: RunName, json: Json = False) -> None:
    """Bring a run back from the trash."""
    from studio.service import runs

    run_id = runs.find_run(run).id
    runs.restore(run_id)
    _tell_labels(run_id, json)


def _tell_labels(run_id: str, json: bool) -> None:
    from studio.service import runs

    shown = runs.show_run(run_id)
    labels = {name: shown[name] for name in ("id", "name", "tags", "notes", "star", "trashed")}
    if json:
        print_json(labels)
        return
    print_facts({name.capitalize(): _words(value) for name, value in labels.items()})


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(plain, value)) or "-" if isinstance(value, list) else str(value) or "-"
