"""A plugin that cannot be used: why, and where to look."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QWidget

from studio.gui.backend import Backend
from studio.gui.screens.methods.entries import Entry
from studio.gui.screens.methods.log_dialog import LogDialog
from studio.gui.theme import GRID
from studio.gui.widgets.layout import column
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.text import title


class BrokenPanel(QFrame):
    """Signals: ``plugins_wanted(plugin id)``."""

    plugins_wanted = Signal(str)

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self._backend = backend
        self._id = ""
        self.heading, self.error = title(""), ErrorCard()
        self.error.add_action("&Open its log", lambda: LogDialog(backend, self._id, self).open())
        self.error.add_action("See it among the &plugins", lambda: self.plugins_wanted.emit(self._id))
        self.setLayout(column(self.heading, self.error, None, spacing=2 * GRID, margin=2 * GRID))

    def show_entry(self, entry: Entry) -> None:
        self._id = entry.id
        self.heading.setText(f"{entry.id} cannot be used")
        if entry.error is not None:
            self.error.show_words(entry.summary, where=entry.error.where, hint=entry.error.hint)
