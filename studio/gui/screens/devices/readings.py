"""One look at all devices of the machine, taken in the background."""

from dataclasses import dataclass

from studio.core.errors import StudioError
from studio.core.facts import DeviceFacts, DeviceSample
from studio.core.units import format_bytes
from studio.gui.backend import Backend

NO_GPU = "No NVIDIA GPU found; training runs on the CPU."


@dataclass(frozen=True)
class Reading:
    """A device now, and the bytes of it that runs of the studio hold; ``problem`` says why there is no sample."""

    facts: DeviceFacts
    sample: DeviceSample | None
    held_by_runs: int = 0
    problem: str = ""


def read_devices(backend: Backend, known: tuple[DeviceFacts, ...]) -> list[Reading]:
    """A reading of each known device, or of all there are when none is known yet."""
    return [_read(backend, facts) for facts in known or tuple(backend.devices())]


def _read(backend: Backend, facts: DeviceFacts) -> Reading:
    try:
        return Reading(facts, backend.sample_device(facts.id), backend.held_by_runs(facts.id))
    except StudioError as error:
        return Reading(facts, None, problem=error.message)


def facts_text(facts: DeviceFacts) -> str:
    """What is true of a device all the time, in one line."""
    parts = [f"{format_bytes(facts.total_bytes)} {'RAM' if facts.kind == 'cpu' else 'memory'}"]
    if facts.cores:
        parts.append(f"{facts.cores} core{'s' if facts.cores != 1 else ''}")
    if facts.compute_capability:
        parts.append("compute capability {}.{}".format(*facts.compute_capability))
    parts.append("computes in bfloat16" if facts.bf16 else "no fast bfloat16")
    if facts.power_limit_w:
        parts.append(f"up to {facts.power_limit_w:.0f} W")
    if facts.driver:
        parts.append(f"driver {facts.driver}")
    return "  ·  ".join(parts)


def memory_text(sample: DeviceSample) -> str:
    return f"{format_bytes(sample.used_bytes)} of {format_bytes(sample.total_bytes)} in use"


def others_text(sample: DeviceSample, held_by_runs: int) -> str:
    """What other programs hold of the memory in use, and which processes hold most where the driver tells."""
    others = max(0, sample.used_bytes - held_by_runs)
    parts = [f"{format_bytes(held_by_runs)} in runs of the studio"] if held_by_runs else []
    parts.append(f"{format_bytes(others)} in other programs and the system")
    holders = sorted(sample.processes, key=lambda holder: -holder[1])[:4]
    return "  ·  ".join([*parts, *(f"process {pid}: {format_bytes(bytes_)}" for pid, bytes_ in holders)])


def percent_text(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def watts_text(watts: float | None) -> str:
    return "–" if watts is None else f"{watts:.0f} W"


def degrees_text(degrees: float | None) -> str:
    return "–" if degrees is None else f"{degrees:.0f} °C"
