"""accuracy: what the studio foresaw of finished runs against what they measured."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from studio.cli.arguments import Json
from studio.cli.output import print_json, print_table, say, to_plain
from studio.core.units import format_bytes, format_seconds, format_watt_hours

if TYPE_CHECKING:
    from studio.service.accuracy import Accuracy, Pair, RunAccuracy

Words = Callable[[float], str]


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    app.command()(accuracy)


def accuracy(json: Json = False) -> None:
    """Show how far forecasts were from what finished runs measured."""
    from studio.service import runs
    from studio.service.accuracy import NOTHING_YET, list_accuracy

    runs.refresh()
    found = list_accuracy()
    if json:
        print_json({"runs": [_plain(run) for run in found.runs], "groups": found.groups})
    elif found.runs:
        _print_tables(found)
    else:
        say(NOTHING_YET)


def _print_tables(found: "Accuracy") -> None:
    columns = [
        "Forecast of",
        "Device",
        "Precision",
        "Method",
        "Basis",
        ">Runs",
        ">Median error",
        ">Bias",
        ">In the band",
    ]
    lines = [
        (
            group.quantity, group.device, group.precision, group.method, group.basis or "-", group.runs,
            f"{group.median_error:.1%}", f"{group.bias:+.1%}", f"{group.inside:.0%}",
        )
        for group in found.groups
    ]  # fmt: skip
    print_table(columns, lines, spare=("Basis", "Precision", "Device"))
    say("")
    runs = [
        (
            run.name, run.method, _compared(run.memory, format_bytes), _compared(run.seconds, format_seconds),
            _compared(run.watt_hours, format_watt_hours),
        )
        for run in found.runs
    ]  # fmt: skip
    print_table(["Run", "Method", ">Memory", ">Time", ">Energy"], runs, spare=("Method",))
    say("foreseen > measured; ! lies outside the 90 % band")


def _compared(pair: "Pair | None", words: Words) -> str:
    if pair is None:
        return "-"
    return f"{words(pair.predicted)} > {words(pair.measured)}{'' if pair.inside else ' !'}"


def _plain(run: "RunAccuracy") -> dict[str, Any]:
    """The run with what follows from its pairs: the error, and whether the band held."""
    pairs = {"memory": run.memory, "seconds": run.seconds, "watt_hours": run.watt_hours}
    told = {name: pair and {"error": pair.error, "inside": pair.inside} for name, pair in pairs.items()}
    plain: dict[str, Any] = to_plain(run)
    return {**plain, **{name: extra and {**plain[name], **extra} for name, extra in told.items()}}
