"""A horizontal axis in seconds, with ticks where people expect them: at 10 s, 1 min, 5 min, 1 h."""

from collections.abc import Sequence

import pyqtgraph as pg
from PySide6.QtGui import QFontMetricsF

from studio.gui.fonts import mono_font

NICE_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400)
TICK_CHARACTERS = 9  # what a tick's words and the gap to the next take at least


class TimeAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph has no types
    """Seconds since the start, or before now when negative."""

    def __init__(self) -> None:
        super().__init__(orientation="bottom")

    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:  # noqa: N803 - pyqtgraph's names
        words = QFontMetricsF(mono_font()).averageCharWidth() * TICK_CHARACTERS
        return [(spacing_s(maxVal - minVal, size, words), 0)]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        return [tick_text(value, spacing) for value in values]


def spacing_s(span: float, width: float, words: float) -> float:
    """The least round number of seconds between ticks for which words of this width have room."""
    least = span * words / max(width, words)
    return next((nice for nice in NICE_S if nice >= least), -(-least // 86_400) * 86_400)


def tick_text(seconds: float, spacing: float) -> str:
    """In the largest unit that divides the spacing, so that all ticks of an axis read alike."""
    unit, size = next(((unit, size) for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)) if spacing % size == 0),
                      ("s", 1))  # fmt: skip
    count = round(seconds / size)
    return f"{'−' if count < 0 else ''}{abs(count)} {unit}" if count else "0"
