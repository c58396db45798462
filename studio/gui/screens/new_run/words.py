"""The forecast in words: figures with units, their band, and honest silence where nothing is known."""

from collections.abc import Callable

from studio.core.facts import DeviceFacts
from studio.core.forecast import Advice, EnergyForecast, Estimate, MemoryForecast, Room, TimeForecast
from studio.core.plan import Plan
from studio.core.units import format_bytes, format_seconds, format_watt_hours

NOT_ENOUGH = "not enough alone".replace(" ", "\N{NO-BREAK SPACE}")  # on one line
PART_WORDS = {
    "weights": "Base weights",
    "trainable": "Trainable parameters",
    "gradients": "Gradients",
    "optimizer": "Optimizer state",
    "activations": "Activations",
    "logits": "Logits",
    "workspace": "Workspace",
    "context": "Runtime and driver",
}
BASIS_WORDS = {
    "formula": ("Formula", "From formulas alone."),
    "simulated": ("Simulated", "From a simulated step of this model."),
    "probed": ("Probed", "From a few real steps on this machine."),
    "calibrated": ("Calibrated", "Corrected by what your own runs took."),
}


def memory_words(memory: MemoryForecast) -> tuple[str, str]:
    return format_bytes(memory.total_bytes), _band(memory.low_bytes, memory.high_bytes, format_bytes)


def device_words(device: DeviceFacts | None) -> str:
    if device is None:
        return ""
    if not device.total_bytes:
        return "How much memory this device has is not known"
    kind = "memory" if device.kind == "cpu" else "GPU memory"
    return f"{format_bytes(device.free_bytes)} free of {format_bytes(device.total_bytes)} {kind}"


def room_words(room: Room | None) -> str:
    """The most that would fit."""
    if room is None:
        return "How many rows would fit is not known"
    if not room.micro_batch:
        return "Not even one row is sure to fit"
    rows = "1 row" if room.micro_batch == 1 else f"{room.micro_batch:,} rows"
    longest = f"rows up to {room.max_length:,} tokens" if room.max_length else "shorter rows alone do not help"
    return f"Fits up to {rows} at once · {longest}"


def advice_words(advice: Advice) -> str:
    """``saves 1.20 GiB · 30% slower · not enough alone``: what a change brings and what it costs."""
    saved = f"saves {format_bytes(advice.saves_bytes)}" if advice.saves_bytes > 0 else ""
    parts = (saved, _pace(advice.slower), "" if advice.fits else NOT_ENOUGH)
    return " · ".join(part for part in parts if part)


def _pace(slower: float | None) -> str:
    if slower is None:
        return ""
    if slower >= 2:
        return f"{slower:.1f} times as long"
    percent = round(100 * (slower - 1))
    return f"{abs(percent)}% {'slower' if percent > 0 else 'faster'}" if percent else "as fast"


def time_words(time: TimeForecast) -> tuple[str, str]:
    return format_seconds(time.seconds), _time_band(time.low, time.high)


def step_words(estimate: Estimate, plan: Plan) -> tuple[str, str]:
    return f"{plan.steps:,}", f"{format_seconds(estimate.time.seconds_per_step)} each"


def energy_words(energy: EnergyForecast) -> tuple[str, str]:
    if energy.watt_hours is None:
        return "unknown", "no power meter here"
    if energy.low is None or energy.high is None:
        return format_watt_hours(energy.watt_hours), ""
    return format_watt_hours(energy.watt_hours), _band(energy.low, energy.high, format_watt_hours)


def cost_words(energy: EnergyForecast, currency: str) -> tuple[str, str]:
    if energy.cost is None:
        return "unknown", "set your tariff in Settings"
    shown = f"{energy.cost:.2f}" if energy.cost >= 0.01 else "under 0.01"
    return f"{shown} {currency}".strip(), ""


def co2_words(energy: EnergyForecast) -> tuple[str, str]:
    if energy.co2_g is None:
        return "unknown", "set your grid in Settings"
    return (f"{energy.co2_g / 1000:.1f} kg", "") if energy.co2_g >= 1000 else (f"{energy.co2_g:.2g} g", "")


def trainable_words(plan: Plan) -> tuple[str, str]:
    return f"{plan.trainable:,}", f"{plan.trainable / plan.total:.2%} of {plan.total:,}"


def _band(low: float, high: float, format_: Callable[[float], str]) -> str:
    """``2.67 – 3.06 GiB``: the unit once where both have the same."""
    first, last = format_(low), format_(high)
    if first == last:
        return f"about {first}"
    (figure, _, unit), other_unit = first.partition(" "), last.partition(" ")[2]
    return f"{figure if unit == other_unit else first} – {last}"


def _time_band(low: float, high: float) -> str:
    """``6 – 10 min``: one unit for both ends, whole figures where they say enough."""
    for seconds, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if high >= 1.5 * seconds:
            return f"{_short(low / seconds)} – {_short(high / seconds)} {unit}"
    return f"{_short(low)} – {_short(high)} s"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or round(value, 1).is_integer() else f"{value:.1f}"
