"""Where the window and its splitters were; everything else is in the settings file."""

from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMainWindow, QSplitter

from studio.core.paths import home


def _store() -> QSettings:
    return QSettings(str(home().root / "window.ini"), QSettings.Format.IniFormat)


def save_window(window: QMainWindow) -> None:
    _store().setValue("window/geometry", window.saveGeometry())


def restore_window(window: QMainWindow) -> bool:
    """Put the window where it was, if that is still on a screen; whether it was."""
    stored = _store().value("window/geometry")
    if not isinstance(stored, QByteArray) or not window.restoreGeometry(stored):
        return False
    frame = window.frameGeometry()
    if not any(screen.availableGeometry().intersects(frame) for screen in QGuiApplication.screens()):
        window.move(QGuiApplication.primaryScreen().availableGeometry().topLeft())
    return True


def remember_splitter(splitter: QSplitter, name: str) -> None:
    """Restore a splitter and keep its place from now on."""
    stored = _store().value(f"splitters/{name}")
    if isinstance(stored, QByteArray):
        splitter.restoreState(stored)
    splitter.splitterMoved.connect(lambda *_: _store().setValue(f"splitters/{name}", splitter.saveState()))
