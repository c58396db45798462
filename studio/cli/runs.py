"""runs list|show|watch|compare|export-curves: what there is to know about runs."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.cli import run_control, run_labels, run_power
from studio.cli.arguments import Json, Out, RunName
from studio.cli.output import output_file, print_facts, print_json, print_table, say
from studio.core.errors import UserError
from studio.core.units import format_bytes, format_count, format_number, format_seconds, format_watt_hours

if TYPE_CHECKING:
    from studio.catalog.rows import RunRow

app = typer.Typer(help="Runs: list, show, watch, stop, compare and export them.", no_args_is_help=True)


@app.command("list")
def list_(
    search: Annotated[
        str, typer.Option("--search", "-s", metavar="TEXT", help="Words in name, notes, tags, model, data.")
    ] = "",
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="Only runs in this state; may be repeated.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Only runs with this tag; may be repeated.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="MODEL", help="Only runs of this model.")] = "",
    data: Annotated[str, typer.Option(metavar="DATA", help="Only runs on this dataset.")] = "",
    method: Annotated[str, typer.Option(metavar="METHOD", help="Only runs with this method.")] = "",
    starred: Annotated[bool, typer.Option("--starred", help="Only starred runs.")] = False,
    trash: Annotated[bool, typer.Option("--trash", help="The runs in the trash.")] = False,
    sort: Annotated[
        str, typer.Option(metavar="FIELD", help="Field to sort by, or metric:NAME; -FIELD: descending.")
    ] = "-created",
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most this many.")] = 50,
    offset: Annotated[int, typer.Option(metavar="N", min=0, help="Skip this many.")] = 0,
    json: Json = False,
) -> None:
    """List runs, the newest first."""
    from studio.service import runs

    runs.refresh()
    wanted = runs.RunFilter(
        search, _known_states(state or []), tuple(tag or ()), model, data, method, starred, trash
    )  # fmt: skip
    rows = runs.list_runs(wanted, sort=sort, limit=limit, offset=offset)
    if json:
        print_json([{key: value for key, value in row._asdict().items() if key != "key"} for row in rows])
        return
    columns = ["Run", "Name", "State", "Model", "Data", "Method", ">Trainable", ">Steps", ">Eval loss", ">Time", "Tags"]
    lines = [
        (
            row.id, ("* " if row.star else "") + row.name, row.state, row.model, row.data, row.method,
            "-" if row.trainable is None else format_count(row.trainable),
            f"{row.step}/{row.steps}" if row.steps else row.step,
            f"{_number(row.eval_before)} > {_number(row.eval_after)}",
            _or_dash(_elapsed_s(row), format_seconds), ", ".join(row.tags),
        )
        for row in rows
    ]  # fmt: skip
    nothing = "no runs yet: `pet-studio quickstart` makes the first" if wanted == runs.RunFilter() else "no run matches"
    spare = ("Data", "Trainable", "Tags", "Model", "Method", "Time")
    print_table(columns, lines, empty=nothing, spare=spare)
    left = runs.count_runs(wanted) - offset - len(rows)
    if left > 0:
        say(f"{left} more: --offset {offset + limit}")


@app.command()
def show(run: RunName, json: Json = False) -> None:
    """Show everything about a run."""
    from studio.service import runs

    shown = runs.show_run(runs.find_run(run).id)
    if json:
        print_json(shown)
        return
    measured = shown["measured"]
    facts: dict[str, object] = {
        "Id": shown["id"],
        "Name": shown["name"],
        "State": shown["state"] + (f" ({shown['reason']})" if shown["reason"] else ""),
        "Created": datetime.fromtimestamp(shown["created"]).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        "Steps": f"{shown['step']} of {shown['steps'] or '?'}",
        "Folder": shown["folder"],
        "Tags": ", ".join(shown["tags"]) or "-",
        "Notes": shown["notes"] or "-",
        "Peak memory": _or_dash(measured["peak_bytes"], format_bytes),
        "Time": _or_dash(measured["seconds"], format_seconds),
        "Energy": _energy(measured),
        "Cost": _at_rate(measured, "cost"),
        "CO2": _at_rate(measured, "co2_g"),
    }
    if shown["parent"]:
        facts["Parent"] = shown["parent"]
    if shown["error"]:
        facts["Error"] = shown["error"]["message"]
        facts["What to do"] = shown["error"]["hint"] or "-"
        if "foreseen" in (details := shown["error"].get("details", {})):
            facts["Held"] = _parts(details["held"], details["held_bytes"])
            facts["Foreseen"] = _parts(details["foreseen"]["parts"], details["foreseen"]["total_bytes"])
    print_facts(facts)
    lines = [
        (name, *(_number(metric[part]) for part in ("last", "min", "max")), metric["step"])
        for name, metric in shown["metrics"].items()
    ]
    if lines:
        print_table(["Metric", ">Last", ">Min", ">Max", ">Step"], lines)


@app.command()
def watch(run: RunName, json: Json = False) -> None:
    """Follow a run until it ends. Ctrl-C leaves it running."""
    from studio.cli.follow import follow
    from studio.service import runs

    raise typer.Exit(follow(runs.find_run(run).id, as_json=json))


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two or more runs.")], json: Json = False
) -> None:
    """Set runs side by side: what differs, and their metrics."""
    from studio.service import runs

    if len(names) < 2:
        raise UserError("comparing takes two runs or more", where="RUN", hint="`pet-studio runs list` names them")
    found = runs.compare([runs.find_run(name).id for name in names])
    if json:
        print_json(
            {
                "runs": [row.id for row in found.runs],
                "config": {line.field: line.values for line in found.config},
                "metrics": {line.name: line.values for line in found.metrics},
            }
        )
        return
    titles = [f"{row.name} {row.id[-4:]}" for row in found.runs]
    differences = [(line.field, *line.values) for line in found.config]
    print_table(["Differs", *titles], differences, empty="the settings are the same")
    print_table(
        ["Metric (last)", *(f">{title}" for title in titles)],
        [
            (line.name, *("-" if value is None else _number(value["last"]) for value in line.values))
            for line in found.metrics
        ],
    )


@app.command("export-curves")
def export_curves(run: RunName, out: Out = None, json: Json = False) -> None:
    """Write curves as CSV: a line per step, a column per metric."""
    from studio.service import runs

    run_id = runs.find_run(run).id
    path = output_file(out, f"{run_id}-curves.csv")
    lines = runs.export_curves(run_id, path)
    print_json({"path": str(path), "lines": lines}) if json else say(f"{path}: {lines} steps")


def _known_states(states: list[str]) -> tuple[str, ...]:
    from studio.core.problems import did_you_mean
    from studio.core.state import STATES

    for state in states:
        if state not in STATES:
            raise UserError(f"there is no state {state!r}", where="--state", hint=did_you_mean(state, STATES))
    return tuple(states)


def _elapsed_s(row: "RunRow") -> float | None:
    """What the run measured, else the time since it began to train."""
    if row.seconds is not None or row.started is None:
        return row.seconds
    return (row.ended or time.time()) - row.started


def _parts(parts: dict[str, int], total: int) -> str:
    """Memory by what holds it, the largest part first."""
    listed = sorted(((bytes_, name) for name, bytes_ in parts.items() if bytes_), reverse=True)
    return f"{format_bytes(total)}: {', '.join(f'{name} {format_bytes(bytes_)}' for bytes_, name in listed)}"


def _energy(measured: dict[str, Any]) -> str:
    """``12 Wh (energy counter, 0.42 J a token)``, with what makes it doubtful."""
    if measured["watt_hours"] is None:
        return "-"
    per_token = measured["joules_per_token"]
    words = [
        measured["energy_method"],
        f"{format_number(per_token)} J a token" if per_token is not None else "",
        f"{format_seconds(measured['unmetered_s'])} not metered" if measured["unmetered_s"] >= 1 else "",
        "other processes included" if measured["shared"] else "",
        "steps beat with the meter: may be 20 % off" if measured["near_cadence"] else "",
    ]
    listed = ", ".join(word for word in words if word)
    return format_watt_hours(measured["watt_hours"]) + (f" ({listed})" if listed else "")


def _at_rate(measured: dict[str, Any], figure: str) -> str:
    """Cost or CO2 by the rates that the run was planned with."""
    if measured[figure] is None:
        return "-"
    rates = measured["rates"]
    if figure == "cost":
        return f"{format_number(measured['cost'])} {rates['currency']} ({rates['tariff_per_kwh']:g} per kWh)"
    where = f"{rates['grid']} {rates['year']}" if rates["grid"] else rates["source"]
    return f"{format_number(measured['co2_g'])} g ({rates['g_per_kwh']:g} g per kWh, {where})"


def _or_dash(value: Any, words: Any) -> str:
    return "-" if value is None else str(words(value))


def _number(value: float | None) -> str:
    return "-" if value is None else format_number(value)


for _part in (run_control, run_labels, run_power):
    _part.register(app)
