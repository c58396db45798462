"""validate, plan, estimate: what a spec file would do, before it does anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.cli.arguments import Json, Spec
from studio.cli.output import print_facts, print_json, print_table, say, warn_of
from studio.core.errors import InvalidSpecError
from studio.core.units import format_bytes, format_count, format_seconds, format_watt_hours

if TYPE_CHECKING:
    from studio.core.facts import DeviceFacts
    from studio.core.forecast import Advice, Estimate
    from studio.core.plan import PlanOutcome

SLIGHT = 0.02  # a share of the time that nobody notices


def register(app: typer.Typer) -> None:
    """Add the commands to the top level."""
    app.command()(validate)
    app.command()(plan)
    app.command()(estimate)


def load(path: Path) -> dict[str, Any]:
    """The raw spec in a file, or on stdin for ``-``."""
    from studio.service.spec_file import parse_text, read_spec

    if str(path) == "-":
        import sys

        return parse_text(sys.stdin.read(), "stdin")
    return read_spec(path)


def validate(spec: Spec, json: Json = False) -> None:
    """Check a spec file and list all its problems at once.

    The help page 'Spec files' has the format, with examples.
    """
    from studio.service.validate_spec import validate as check

    found = check(load(spec))
    if json:
        print_json({"valid": found.spec is not None, "problems": found.problems})
    elif found.spec is None:
        raise InvalidSpecError([problem for problem in found.problems if problem.severity == "error"])
    else:
        warn_of(found.problems)
        say(f"{spec}: no errors")
    raise typer.Exit(0 if found.spec is not None else InvalidSpecError.exit_code)


def plan(spec: Spec, json: Json = False) -> None:
    """Resolve all automatic choices, each with its reason."""
    outcome = _planned(load(spec))
    planned = outcome.plan
    if json:
        fields = ("steps", "tokens_per_step", "trainable")
        autos = planned.autos if planned else []
        body = {name: getattr(planned, name, None) for name in fields}
        print_json({"autos": autos, "problems": outcome.problems, **body, "plan": planned})
    _refuse_errors(outcome)
    if json or planned is None:
        return
    print_facts(
        {
            "Method": " + ".join(placement.use for placement in planned.placements),
            "Trainable": f"{planned.trainable:,} of {planned.total:,} parameters",
            "Steps": f"{planned.steps:,} of {planned.effective_batch} rows, about {planned.tokens_per_step:,} tokens",
            "Rows": f"{planned.train_rows:,} to train on, {planned.eval_rows:,} held out",
        }
    )
    print_table(["Automatic choice", "Value", "Why"], [(auto.field, auto.value, auto.reason) for auto in planned.autos])


def estimate(
    spec: Spec,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="A device of this machine, or with --vram any GPU's name.")
    ] = None,
    vram: Annotated[
        float | None, typer.Option(metavar="GIB", min=0.5, max=1024, help="A GPU with so much memory.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="By the formula alone: at once, but less exact.")] = False,
    json: Json = False,
) -> None:
    """Foresee memory, time and energy of a run, and whether it fits.

    Memory is simulated, which takes some seconds, unless --quick.
    """
    from studio.cli.device_names import id_of
    from studio.service.hypothetical import gpu_of, on_device

    raw = load(spec)
    devices = None
    if vram is not None:
        devices = [gpu_of(vram, device)]
        raw = on_device(raw, "auto")
    elif device is not None:
        raw = on_device(raw, id_of(device))
    outcome = _planned(raw, devices, simulated=not quick)
    if outcome.estimate is None and json:
        print_json({"problems": outcome.problems})
    _refuse_errors(outcome)
    if outcome.estimate is None:
        return
    if json:
        print_json(outcome.estimate)
    else:
        print_estimate(outcome.estimate)


def print_estimate(forecast: "Estimate") -> None:
    """An estimate in words and ranges."""
    memory, time, energy = forecast.memory, forecast.time, forecast.energy
    parts = [(name, getattr(memory.parts, name)) for name in type(memory.parts).model_fields]
    facts = {
        "Verdict": f"{forecast.verdict} on {forecast.device}",
        "Memory": f"{format_bytes(memory.total_bytes)}, "
        f"{format_bytes(memory.low_bytes)} to {format_bytes(memory.high_bytes)}",
        "  of which": ", ".join(f"{name} {format_bytes(bytes_)}" for name, bytes_ in parts if bytes_),
        "Time": f"{format_seconds(time.seconds)}, {format_seconds(time.low)} to {format_seconds(time.high)}",
        "Per step": per_step(time.seconds_per_step),
        "Energy": _energy(forecast),
        "Basis": f"{forecast.basis}: {forecast.evidence}",
    }
    if forecast.fallback:
        facts["Not simulated"] = forecast.fallback
    if forecast.room is not None:
        facts["Room"] = (
            f"up to {forecast.room.micro_batch:,} rows at once, or rows of {forecast.room.max_length:,} tokens"
        )
    if energy.co2_g is not None:
        facts["CO2"] = f"about {format_count(energy.co2_g)} g"
    if energy.cost is not None:
        facts["Cost"] = f"about {energy.cost:.2f}"
    print_facts(facts)
    for advice in forecast.advice:
        say(f"Advice: {advice.change} ({_effect(advice)})")


def _effect(advice: "Advice") -> str:
    """What a change saves and costs."""
    words = f"saves {format_bytes(advice.saves_bytes)}"
    if advice.slower is not None and abs(advice.slower - 1) >= SLIGHT:
        words += f", {abs(advice.slower - 1):.0%} {'slower' if advice.slower > 1 else 'faster'}"
    return words if advice.fits else f"{words}, not enough alone"


def per_step(seconds: float) -> str:
    """The time of one step."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else format_seconds(seconds)


def _energy(forecast: "Estimate") -> str:
    energy = forecast.energy
    if energy.watt_hours is None or energy.low is None or energy.high is None:
        return "not known for this device"
    low, high = format_watt_hours(energy.low), format_watt_hours(energy.high)
    return f"{format_watt_hours(energy.watt_hours)}, {low} to {high}"


def _planned(
    raw: Mapping[str, Any], devices: "list[DeviceFacts] | None" = None, *, simulated: bool = False
) -> "PlanOutcome":
    """Plan a spec; warnings go to stderr."""
    from studio.service.plan_run import plan_run
    from studio.service.simulation import simulator

    outcome = plan_run(raw, devices=devices, simulator=simulator() if simulated else None)
    if outcome.plan is not None:
        warn_of(problem for problem in outcome.problems if problem.severity == "warning")
    return outcome


def _refuse_errors(outcome: "PlanOutcome") -> None:
    """InvalidSpecError if there is no plan."""
    if outcome.plan is None:
        raise InvalidSpecError([problem for problem in outcome.problems if problem.severity == "error"])
