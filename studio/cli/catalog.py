"""catalog …: rebuild the index of runs from their folders, or check both."""

import typer

from studio.cli.arguments import Json
from studio.cli.output import print_json, progress_line, say, warn_of

app = typer.Typer(help="The index of all runs: rebuild or check it.", no_args_is_help=True)


@app.command()
def rebuild(json: Json = False) -> None:
    """Recreate the catalog from the run folders; labels stay."""
    from studio.service import runs

    with progress_line() as progress:
        result = runs.rebuild(progress)
    if json:
        print_json(result)
        return
    warn_of(result.problems)
    say(f"{result.runs} runs")


@app.command()
def check(json: Json = False) -> None:
    """Look for damage in the catalog and in the run folders."""
    from studio.service import runs

    problems = runs.check()
    if json:
        print_json({"problems": problems})
    else:
        warn_of(problems)
        say(f"{len(problems)} problems" if problems else "no problems")
    raise typer.Exit(1 if problems else 0)
