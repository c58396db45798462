"""The left rail: the screens by icon and name."""

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QButtonGroup, QSizePolicy, QToolButton, QWidget

from studio.gui import fonts
from studio.gui.icons import set_icon
from studio.gui.screens.registry import ScreenEntry
from studio.gui.theme import GRID, theme
from studio.gui.widgets.layout import column


class Rail(QWidget):
    """Signals: ``chosen(screen id)``."""

    chosen = Signal(str)

    def __init__(self, entries: Sequence[ScreenEntry], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("rail")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAccessibleName("Screens")
        self._group = QButtonGroup(self)
        self.buttons = {entry.id: self._button(entry, index) for index, entry in enumerate(entries, start=1)}
        *upper, last = self.buttons.values()
        self.setLayout(column(*upper, None, last, spacing=4, margin=GRID))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self._fit()
        theme().watch(self, Rail._fit)

    def mark(self, screen_id: str) -> None:
        """Show which screen is in view; none when it is not in the rail."""
        self._group.setExclusive(False)
        for name, button in self.buttons.items():
            button.setChecked(name == screen_id)
        self._group.setExclusive(screen_id in self.buttons)

    def _button(self, entry: ScreenEntry, number: int) -> QToolButton:
        button = QToolButton()
        button.setText(f" {entry.title}")
        button.setProperty("role", "rail")
        button.setCheckable(True)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setAccessibleName(entry.title)
        button.setAccessibleDescription(entry.summary)
        button.setToolTip(f"{entry.summary} (Ctrl+{number})")
        set_icon(button, entry.icon)
        button.setIconSize(QSize(20, 20))
        button.clicked.connect(lambda *_, name=entry.id: self.chosen.emit(name))
        self._group.addButton(button)
        return button

    def _fit(self) -> None:
        """Wide enough for the longest name in the semibold of the chosen one."""
        metrics = QFontMetrics(fonts.body_font(strong=True), self)
        longest = max(metrics.horizontalAdvance(button.text()) for button in self.buttons.values())
        self.setFixedWidth(longest + 20 + 6 * GRID + 8)
