"""How curves look, in words that need no plotting library."""

from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from studio.gui.theme import theme

DASHES = {"solid": Qt.PenStyle.SolidLine, "dash": Qt.PenStyle.DashLine, "dot": Qt.PenStyle.DotLine}
FAINT_ALPHA = 110


@dataclass(frozen=True)
class CurveStyle:
    """Which of the theme's series colours, and dash or dots so that colour is never alone.

    The legend leaves out a curve that is not ``listed``, such as the raw one behind its smoothed twin.
    """

    series: int = 0
    dash: str = "solid"
    faint: bool = False
    dots: bool = False
    listed: bool = True


@dataclass(frozen=True)
class Band:
    """A forecast to draw behind the curves: the likeliest value, and the range it lies in."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Limit:
    """A value that the curves cannot pass, and its name; only a ``near`` one is always in the picture."""

    value: float
    words: str
    near: bool


def curve_color(style: CurveStyle) -> QColor:
    """The colour in the theme in force."""
    colors = theme().tokens.series
    color = QColor(colors[style.series % len(colors)])
    return faded(color, FAINT_ALPHA) if style.faint else color


def faded(color: QColor, alpha: int) -> QColor:
    made = QColor(color)
    made.setAlpha(alpha)
    return made
