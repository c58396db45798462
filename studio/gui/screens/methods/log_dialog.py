"""What a plugin printed, in a window of its own."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QPlainTextEdit, QWidget

from studio.gui.backend import Backend
from studio.gui.fonts import mono_font
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.text import strong


class LogDialog(QDialog):
    """The end of a plugin's log, as plain text."""

    def __init__(self, backend: Backend, plugin_id: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"Log of {plugin_id}")
        self.text = QPlainTextEdit("Reading…")
        self.text.setReadOnly(True)
        self.text.setTabChangesFocus(True)
        self.text.setFont(mono_font())
        self.text.setAccessibleName(f"What {plugin_id} printed")
        close = button("&Close", self.close)
        layout = column(strong(f"What {plugin_id} printed"), self.text, row(None, close), margin=2 * GRID)
        self.setLayout(layout)
        self.resize(90 * GRID, 60 * GRID)
        run_task(self, backend.plugin_log, plugin_id, done=self._show)

    def _show(self, log: str) -> None:
        self.text.setPlainText(log or "It printed nothing.")
