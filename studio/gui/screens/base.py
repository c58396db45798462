"""What the main window knows of a screen."""

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.gui.backend import Backend


class Screen(QWidget):
    """Base of all screens.

    Signals: ``navigate(screen id, argument)`` asks the window for another screen; ``noted(text)`` for a note.
    """

    id = ""
    navigate = Signal(str, object)
    noted = Signal(str)

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.backend = backend

    def enter(self, argument: Any = None) -> None:
        """The screen comes into view; ``argument`` is what ``navigate`` was given."""

    def leave(self) -> None:
        """The screen goes out of view: stop timers."""
