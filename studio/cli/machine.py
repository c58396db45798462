"""devices, doctor: what this machine has, and what it lacks."""

from typing import Annotated

import typer

from studio.cli.arguments import Json
from studio.cli.output import print_json, print_table, say
from studio.core.errors import MachineError
from studio.core.units import format_bytes


def register(app: typer.Typer) -> None:
    """Add the commands to the top level."""
    app.command()(devices)
    app.command()(doctor)


def devices(json: Json = False) -> None:
    """List the devices that can train."""
    from studio.service.devices import list_devices

    found = list_devices()
    if json:
        print_json(found)
        return
    lines = [
        (
            device.id, device.name, format_bytes(device.total_bytes), format_bytes(device.free_bytes),
            "yes" if device.bf16 else "no",
            "-" if device.power_limit_w is None else f"{device.power_limit_w:.0f} W", device.driver or "-",
        )
        for device in found
    ]  # fmt: skip
    print_table(["Device", "Name", ">Memory", ">Free", "bf16", ">Limit", "Driver"], lines)
    if not any(device.kind == "cuda" for device in found):
        say("No NVIDIA GPU found; training runs on the CPU.")


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out starting PyTorch and Qt.")] = False,
    json: Json = False,
) -> None:
    """Check this machine; a remedy for whatever is missing."""
    from studio.service.doctor import examine, worst

    findings = examine(quick=quick)
    if json:
        print_json({"status": worst(findings), "findings": findings})
    else:
        print_table(["", "Check", "Found"], [(finding.level, finding.name, finding.found) for finding in findings])
        for finding in findings:
            if finding.remedy:
                say(f"{finding.level}: {finding.name}: {finding.remedy}")
    raise typer.Exit(MachineError.exit_code if worst(findings) == "error" else 0)
