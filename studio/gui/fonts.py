"""The bundled fonts: one for the interface, one with tabular figures for every number that changes."""

from PySide6.QtGui import QFont, QFontDatabase

from studio.core.paths import resource

UI_FAMILY = "Inter"
MONO_FAMILY = "JetBrains Mono"
BODY_POINTS = 10.0
TITLE_POINTS = 15.0
FIGURE_POINTS = 27.0
_FILES = ("Inter-Regular.otf", "Inter-SemiBold.otf", "JetBrainsMono-Regular.ttf", "JetBrainsMono-SemiBold.ttf")


class _Scale:
    """The user's text size, 1.0 = normal; set by the theme."""

    factor = 1.0


def load_fonts() -> None:
    """Make the bundled fonts known to Qt; needs the application object, harmless when repeated."""
    if UI_FAMILY in QFontDatabase.families() and MONO_FAMILY in QFontDatabase.families():
        return
    for name in _FILES:
        QFontDatabase.addApplicationFont(str(resource(f"fonts/{name}")))


def set_font_scale(factor: float) -> None:
    """Scale all text; the theme calls this before it restyles the window."""
    _Scale.factor = min(max(factor, 0.8), 2.0)


def body_font(*, strong: bool = False) -> QFont:
    return _font(UI_FAMILY, BODY_POINTS, strong=strong)


def title_font() -> QFont:
    return _font(UI_FAMILY, TITLE_POINTS, strong=True)


def mono_font(*, strong: bool = False, large: bool = False) -> QFont:
    """For numbers that change: figures of equal width."""
    return _font(MONO_FAMILY, TITLE_POINTS if large else BODY_POINTS, strong=strong)


def figure_font() -> QFont:
    """The big figures of the Run screen, readable from two metres."""
    return _font(MONO_FAMILY, FIGURE_POINTS, strong=True)


def _font(family: str, points: float, *, strong: bool) -> QFont:
    font = QFont(family)
    font.setPointSizeF(points * _Scale.factor)
    font.setWeight(QFont.Weight.DemiBold if strong else QFont.Weight.Normal)
    return font
