"""What the main window knows of a screen."""

from collections.abc import Iterator
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.gui.backend import Backend


class Screen(QWidget):
    """Base of all screens. A screen is made whole, or ``in_pieces``: then ``build_piece`` is called until it is.

    Signals: ``navigate(screen id, argument)`` asks the window for another screen; ``noted(text)`` for a note.
    """

    id = ""
    navigate = Signal(str, object)
    noted = Signal(str)

    def __init__(self, backend: Backend, *, in_pieces: bool = False) -> None:
        super().__init__()
        self.backend = backend
        self._pieces = self.assemble()
        if not in_pieces:
            self.complete()

    def assemble(self) -> Iterator[None]:
        """Make the screen's parts; between two of them, at each ``yield``, the window may answer its user."""
        yield

    def build_piece(self) -> bool:
        """Make the next part; False: the screen is whole."""
        return next(self._pieces, True) is None

    def complete(self) -> None:
        """Make what is missing."""
        while self.build_piece():
            pass

    def enter(self, argument: Any = None) -> None:
        """The screen comes into view; ``argument`` is what ``navigate`` was given."""

    def leave(self) -> None:
        """The screen goes out of view: stop timers."""
