"""Design tokens, and the palette and style sheet made of them."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import ReferenceType, ref

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QWidget
from shiboken6 import isValid

from studio.core.paths import resource
from studio.gui import fonts
from studio.gui.stylesheet import build_stylesheet
from studio.gui.tokens import Tokens

Owner = TypeVar("Owner", bound=QObject)
GRID = 8  # all spacing is a multiple of this many pixels


def load_tokens(name: str) -> Tokens:
    """The tokens of ``light`` or ``dark``."""
    body = tomllib.loads(resource(f"themes/{name}.toml").read_text(encoding="utf-8"))
    chart = body["chart"]
    return Tokens(
        name=body["name"],
        dark=body["dark"],
        **body["grounds"],
        **body["text"],
        **body["meaning"],
        grid=chart["grid"],
        axis=chart["axis"],
        series=tuple(chart["series"]),
        parts=tuple(chart["parts"]),
    )


@dataclass
class _Choice:
    preference: str = "system"
    font_scale: float = 1.0


class Theme(QObject):
    """The theme in force."""

    def __init__(self) -> None:
        super().__init__()
        self._watchers: list[tuple[ReferenceType[QObject], Callable[[Any], object]]] = []
        self._most_watchers = 1000  # when there are more, those that are gone are taken out
        self.tokens = load_tokens("light")
        self._choice = _Choice()
        self._stylesheet = ""

    def apply(self, preference: str = "system", font_scale: float = 1.0) -> None:
        """Dress the whole application: ``preference`` is light, dark or system."""
        self._choice = _Choice(preference, font_scale)
        self.tokens = load_tokens(self._resolve(preference))
        fonts.set_font_scale(font_scale)
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.setFont(fonts.body_font())
            app.setPalette(build_palette(self.tokens))
        # named in it, so that another size is another sheet: widgets with a sheet hear of a new font by that alone
        self._stylesheet = f"/* text of {font_scale:g} */\n{build_stylesheet(self.tokens)}"
        for reference, function in list(self._watchers):
            owner = reference()
            if _lives(owner):
                function(owner)

    def dress(self, window: QWidget) -> None:
        """Give a window the style sheet, now and after every change.

        The sheet is the window's and not the application's: Qt would restyle every widget of a screen under
        construction each time it is put into another, which takes five times as long as all the rest.
        """

        def put(window: QWidget) -> None:
            if window.styleSheet() != self._stylesheet:  # setting one restyles every widget, even when it is the same
                window.setStyleSheet(self._stylesheet)

        put(window)
        self.watch(window, put)

    def follow_system(self) -> None:
        """Restyle when the desktop changes between light and dark, unless the user pinned one."""
        QApplication.styleHints().colorSchemeChanged.connect(self._system_changed)

    def watch(self, owner: Owner, function: Callable[[Owner], object]) -> None:
        """Call ``function(owner)`` after every change, for as long as ``owner`` lives.

        A list, not a signal: every label watches, and a connection takes longer than all else that makes a label.
        """
        if len(self._watchers) >= self._most_watchers:
            self._watchers = [made for made in self._watchers if _lives(made[0]())]
            self._most_watchers = 2 * len(self._watchers) + 1000
        self._watchers.append((ref(owner), function))

    def color(self, token: str) -> QColor:
        """A token as a colour: ``theme().color("muted")``."""
        return QColor(getattr(self.tokens, token))

    def _system_changed(self) -> None:
        if self._choice.preference == "system":
            self.apply(self._choice.preference, self._choice.font_scale)

    @staticmethod
    def _resolve(preference: str) -> str:
        if preference in ("light", "dark"):
            return preference
        dark = QApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        return "dark" if dark else "light"


def _lives(owner: QObject | None) -> bool:
    return owner is not None and isValid(owner)


_theme: list[Theme] = []


def theme() -> Theme:
    """The one theme of this process."""
    if not _theme:
        _theme.append(Theme())
    return _theme[0]


def build_palette(tokens: Tokens) -> QPalette:
    """A Fusion palette from the tokens."""
    role = QPalette.ColorRole
    palette = QPalette()
    for name, value in (
        (role.Window, tokens.background),
        (role.WindowText, tokens.text),
        (role.Base, tokens.surface),
        (role.AlternateBase, tokens.background),
        (role.Text, tokens.text),
        (role.Button, tokens.surface),
        (role.ButtonText, tokens.text),
        (role.BrightText, tokens.doesnotfit),
        (role.ToolTipBase, tokens.raised),
        (role.ToolTipText, tokens.text),
        (role.PlaceholderText, tokens.muted),
        (role.Highlight, tokens.selected),
        (role.HighlightedText, tokens.text),
        (role.Link, tokens.accent),
        (role.LinkVisited, tokens.accent),
        (role.Accent, tokens.accent),
        (role.Light, tokens.raised),
        (role.Midlight, tokens.line),
        (role.Mid, tokens.line),
        (role.Dark, tokens.outline),
        (role.Shadow, tokens.sunken),
    ):
        palette.setColor(name, QColor(value))
    for name in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, name, QColor(tokens.outline))
    return palette
