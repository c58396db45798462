"""Start of the window: application object, theme, main window; the rest loads after the first paint."""

import faulthandler
import sys
from collections.abc import Sequence
from typing import IO

from PySide6.QtCore import QTimer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication

from studio.core.paths import home, resource
from studio.gui import fonts
from studio.gui.appearance import dress
from studio.gui.backend import Backend
from studio.gui.main_window import MainWindow
from studio.gui.screens.registry import SCREENS
from studio.gui.theme import theme


def main(argv: Sequence[str] | None = None) -> int:
    """Open the window and stay until it closes; the exit code."""
    arguments = list(sys.argv if argv is None else argv)
    sys.setswitchinterval(0.002)  # s; background work in Python must not hold up the window
    crash_log = _catch_crashes()
    app = make_application(arguments)
    backend = Backend()
    window = open_window(backend)
    specs = [argument for argument in arguments[1:] if not argument.startswith("-")]
    if specs:
        window.open_spec(specs[0])
    if "--smoke-test" in arguments:
        _visit_all(window, app)
    try:
        return app.exec()
    finally:
        faulthandler.disable()
        crash_log.close()


def make_application(arguments: Sequence[str]) -> QApplication:
    """The application object in our fonts and style."""
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(list(arguments))
    app.setApplicationName("PET Studio")
    app.setDesktopFileName("pet-studio")
    if not isinstance(existing, QApplication):
        app.setStyle("Fusion")
    app.setWindowIcon(QIcon(str(resource("icons/app.svg"))))
    fonts.load_fonts()
    return app


def open_window(backend: Backend) -> MainWindow:
    """Show the main window on New run, or on the welcome screen where there is nothing to train yet."""
    dress(backend.load_settings())
    theme().follow_system()
    window = MainWindow(backend)
    window.show_screen("first_run" if _is_new(backend) else "new_run")
    window.show()
    QTimer.singleShot(0, window.start_background_work)
    return window


def _visit_all(window: MainWindow, app: QApplication) -> None:
    """The smoke test of an installed studio: build every screen, then leave."""

    def visit() -> None:
        for screen in SCREENS:
            window.show_screen(screen.id)
        QTimer.singleShot(1000, lambda: app.exit(0))

    QTimer.singleShot(500, visit)


def _is_new(backend: Backend) -> bool:
    """Whether both libraries are empty, told from the folders alone."""
    places = (backend.home().models, backend.home().datasets)
    return not any(place.is_dir() and any(place.iterdir()) for place in places)


def _catch_crashes() -> IO[str]:
    """Tracebacks of hard crashes go to a file."""
    logs = home().logs
    logs.mkdir(parents=True, exist_ok=True)
    file = (logs / "crash.log").open("a", encoding="utf-8")
    faulthandler.enable(file)
    return file
