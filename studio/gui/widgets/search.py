"""A search box that reports what is typed, a moment after the last key."""

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLineEdit, QWidget

from studio.gui.icons import icon
from studio.gui.tasks import Debounce
from studio.gui.theme import theme


class SearchField(QLineEdit):
    """Signals: ``searched(str)`` 150 ms after typing stopped."""

    searched = Signal(str)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText(name)
        self.setAccessibleName(name)
        self.setClearButtonEnabled(True)
        self._sign = QAction(self)
        self.addAction(self._sign, QLineEdit.ActionPosition.LeadingPosition)
        self._debounce = Debounce(self, 150, lambda: self.searched.emit(self.text()))
        self.textChanged.connect(lambda _text: self._debounce.request())
        self._tint()
        theme().watch(self, SearchField._tint)

    def _tint(self) -> None:
        self._sign.setIcon(icon("search", "muted"))
