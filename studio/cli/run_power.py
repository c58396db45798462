"""runs power: runs of different precision by what they draw and use."""

from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.arguments import Json
from studio.cli.output import print_json, print_table, say, warn
from studio.core.errors import UserError
from studio.core.units import format_number

if TYPE_CHECKING:
    from studio.service.power_report import PowerGroup, PowerReport

TITLES = {"mean_w": "Mean W", "joules_per_token": "J/token", "joules_per_step": "J/step",
          "watt_hours_per_epoch": "Wh/epoch", "co2_g": "g CO2"}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command to the group of runs."""
    app.command()(power)


def power(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two or more runs.")], json: Json = False
) -> None:
    """Tell whether precisions differ in power and energy."""
    from studio.service import runs
    from studio.service.power_report import report_power

    if len(names) < 2:
        raise UserError("comparing takes two runs or more", where="RUN", hint="`pet-studio runs list` names them")
    report = report_power([runs.find_run(name).id for name in names])
    if json:
        print_json(report)
        return
    _print_report(report)


def _print_report(report: "PowerReport") -> None:
    print_table(
        ["Precision", ">Runs", *(f">{title}" for title in TITLES.values())],
        [(group.precision, len(group.runs), *(_spread(group, name) for name in TITLES)) for group in report.groups],
    )
    for line in report.differences:
        say(f"{TITLES[line.measure]}: {line.verdict}")
    if report.differs:
        say("not only the precision differs:")
        print_table(["Differs", "Values"], [(line.field, ", ".join(map(str, line.values))) for line in report.differs])
    for note in report.notes:
        warn(note)


def _spread(group: "PowerGroup", measure: str) -> str:
    """``251.20 ± 3.10``: mean and standard deviation."""
    spread = group.measures.get(measure)
    if spread is None:
        return "-"
    mean = format_number(spread.mean)
    return mean if spread.deviation is None else f"{mean} ± {format_number(spread.deviation)}"
