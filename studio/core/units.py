"""Numbers with units, at honest precision, the same words in window, CLI and files."""

KIB, MIB, GIB = 1024, 1024**2, 1024**3


def format_bytes(bytes_: float) -> str:
    """``9.1 GiB``: binary units, two or three significant digits."""
    for limit, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if bytes_ >= limit * 0.9995:
            return f"{_digits(bytes_ / limit)} {unit}"
    return f"{bytes_:.0f} B"


def format_seconds(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``2 h 05 min`` or ``3 d 4 h``."""
    whole = round(seconds)
    if whole < 10 and seconds != whole:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def format_watt_hours(watt_hours: float) -> str:
    """``85 mWh``, ``12 Wh`` or ``1.3 kWh``: two significant digits, as good as sensors are."""
    if watt_hours >= 1000:
        return f"{_two(watt_hours / 1000)} kWh"
    if watt_hours >= 1:
        return f"{_two(watt_hours)} Wh"
    return f"{_two(watt_hours * 1000)} mWh"


def format_count(count: float) -> str:
    """``4,096``, ``1.23 M`` or ``7.62 B``: exact below a million."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} B"
    if count >= 1e6:
        return f"{count / 1e6:.2f} M"
    return f"{count:,.0f}"


def format_number(value: float) -> str:
    """A metric's value in at most five significant characters."""
    magnitude = abs(value)
    if magnitude != 0 and (magnitude < 1e-3 or magnitude >= 1e5):
        return f"{value:.2e}"
    return f"{value:.4f}" if magnitude < 10 else f"{value:.2f}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _two(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
