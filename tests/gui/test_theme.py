"""Both themes are readable, complete and applied everywhere."""

import re
from itertools import product

import pytest
from PySide6.QtGui import QFontDatabase, QFontInfo
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from studio.core.paths import resource
from studio.gui import fonts
from studio.gui.icons import icon, set_icon
from studio.gui.theme import load_tokens, theme
from studio.gui.tokens import contrast

GROUNDS = ("background", "surface", "raised", "sunken", "hover", "selected")
TEXTS = ("text", "muted", "accent")
MEANINGS = ("fits", "close", "doesnotfit", "info")


@pytest.mark.parametrize("name", ["light", "dark"])
def test_that_text_has_enough_contrast_on_every_ground(name: str) -> None:
    tokens = load_tokens(name)
    weak = [
        f"{text} on {ground}: {contrast(getattr(tokens, text), getattr(tokens, ground)):.2f}"
        for text, ground in [*product(TEXTS, GROUNDS), *product(MEANINGS, ("background", "surface", "raised"))]
        if contrast(getattr(tokens, text), getattr(tokens, ground)) < 4.5
    ]
    assert not weak
    assert contrast(tokens.on_accent, tokens.accent) >= 4.5


@pytest.mark.parametrize("name", ["light", "dark"])
def test_that_borders_and_curves_stand_out_from_the_surface(name: str) -> None:
    tokens = load_tokens(name)
    assert contrast(tokens.outline, tokens.surface) >= 3
    assert all(contrast(color, tokens.surface) >= 3 for color in tokens.series)
    assert len(tokens.parts) == 8


def test_that_contrast_is_the_wcag_ratio() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_that_all_icons_share_grid_and_stroke() -> None:
    files = [path for path in resource("icons/run.svg").parent.glob("*.svg") if path.stem != "app"]
    assert len(files) > 30
    for path in files:
        source = path.read_text(encoding="utf-8")
        assert 'viewBox="0 0 24 24"' in source, path.name
        assert set(re.findall(r'stroke-width="([^"]+)"', source)) == {"1.75"}, path.name


def test_that_the_bundled_fonts_have_two_weights_and_equal_figures(window_app: QApplication) -> None:
    for family in (fonts.UI_FAMILY, fonts.MONO_FAMILY):
        assert {QFontDatabase.weight(family, style) for style in QFontDatabase.styles(family)} == {400, 600}
    assert QFontInfo(fonts.body_font()).family() == fonts.UI_FAMILY
    from PySide6.QtGui import QFontMetrics

    widths = {QFontMetrics(fonts.mono_font()).horizontalAdvance(figure) for figure in "0123456789"}
    assert len(widths) == 1


def test_that_icons_follow_the_theme_and_die_with_their_button(window_app: QApplication) -> None:
    button = QPushButton()
    set_icon(button, "run")
    light = button.icon().cacheKey()
    theme().apply("dark")
    assert button.icon().cacheKey() != light
    button.deleteLater()
    window_app.sendPostedEvents(button, 0)
    theme().apply("light")
    assert not icon("run").isNull()


def test_that_text_grows_with_the_font_scale(window_app: QApplication) -> None:
    theme().apply("light", 1.5)
    assert window_app.font().pointSizeF() == pytest.approx(15)
    theme().apply("light")
    assert window_app.font().pointSizeF() == pytest.approx(10)


def test_that_a_dressed_window_grows_with_the_font_scale_in_the_same_theme(
    window_app: QApplication, qtbot: QtBot
) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    button = QPushButton("Start", window)
    theme().apply("light", 1.0)
    theme().dress(window)
    window.show()
    before = button.sizeHint().width()
    theme().apply("light", 1.5)
    try:
        assert button.font().pointSizeF() == fonts.body_font().pointSizeF()
        assert button.sizeHint().width() > before
    finally:
        theme().apply("light", 1.0)
