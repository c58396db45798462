"""The hub token: entered once, never shown again, kept in the keyring."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from studio.core.errors import StudioError
from studio.gui.backend import Backend
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.text import muted


class TokenField(QWidget):
    """A password field with Save and Forget; says whether a token is kept."""

    failed = Signal(object)

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._backend = backend
        self.entry = QLineEdit()
        self.entry.setEchoMode(QLineEdit.EchoMode.Password)
        self.entry.setToolTip("For models whose owners ask for one; it goes to the system's keyring")
        self.save = button("Save token", self._save)
        self.entry.textChanged.connect(lambda text: self.save.setEnabled(bool(text.strip())))
        self.entry.returnPressed.connect(self._save)
        self.forget = button("Forget", self._forget)
        label = muted("Hub &token", wrap=False)
        label.setBuddy(self.entry)
        self.entry.setAccessibleName("Hub token")
        self.setLayout(column(label, row(self.entry, self.save, self.forget), spacing=GRID // 2))
        self.save.setEnabled(False)
        self.forget.setEnabled(False)
        self.refresh()

    def refresh(self) -> None:
        """Ask again whether a token is kept."""
        run_task(self, self._backend.has_token, done=self._show)

    def _show(self, kept: bool) -> None:
        self.entry.setPlaceholderText("saved in the keyring" if kept else "none")
        self.forget.setEnabled(kept)

    def _save(self) -> None:
        token = self.entry.text().strip()
        if token:
            run_task(self, self._backend.save_token, token, done=self._changed, failed=self._fail)

    def _forget(self) -> None:
        run_task(self, self._backend.save_token, None, done=self._changed, failed=self._fail)

    def _changed(self, _none: object) -> None:
        self.entry.clear()
        self.refresh()

    def _fail(self, error: StudioError) -> None:
        self.failed.emit(error)
