"""The names of the design tokens; a theme file gives each a colour."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tokens:
    """Colours as ``#rrggbb``. Grounds carry text; meanings always come with a shape or a word."""

    name: str
    dark: bool
    background: str
    surface: str
    raised: str
    sunken: str
    hover: str
    selected: str
    line: str  # hairlines between areas
    outline: str  # borders of controls
    text: str
    muted: str
    accent: str
    on_accent: str
    fits: str
    close: str
    doesnotfit: str
    info: str
    grid: str
    axis: str
    series: tuple[str, ...]  # curves, in order
    parts: tuple[str, ...]  # memory parts, in the order of MemoryParts


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio of two colours, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    red, green, blue = (_linear(int(color[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
