"""Pictures of every screen, to look at and for the help pages: ``python tests/gui/screenshots.py FOLDER [IDS…]``."""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PET_STUDIO_HOME", tempfile.mkdtemp(prefix="pet-studio-shots-"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PySide6.QtCore import QEventLoop, QSize, QTimer

from studio.gui.app import make_application
from studio.gui.main_window import MainWindow
from studio.gui.screens.registry import FIRST_RUN, SCREENS
from studio.gui.theme import theme
from tests.gui.fake_backend import FakeBackend

SETTLE_MS = 900
VARIANTS = (
    ("light", "light", 1.0, QSize(1280, 800)),
    ("dark", "dark", 1.0, QSize(1280, 800)),
    ("wide", "dark", 1.0, QSize(1920, 1080)),
    ("large-text", "light", 1.5, QSize(1280, 800)),
)


def settle() -> None:
    """Let background work arrive; an event loop of its own, since qWait starves Python threads."""
    loop = QEventLoop()
    QTimer.singleShot(SETTLE_MS, loop.quit)
    loop.exec()


def render(folder: Path, wanted: list[str], variants: list[str]) -> list[Path]:
    """Draw the wanted screens (all when empty) in the wanted variants; the pictures' paths."""
    application = make_application(["screenshots"])
    application.setCursorFlashTime(0)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for variant, name, scale, size in VARIANTS:
        if variants and variant not in variants:
            continue
        theme().apply(name, scale)
        window = MainWindow(FakeBackend())
        window.resize(size)
        window.show()
        window.start_background_work()
        for entry in (*SCREENS, FIRST_RUN):
            if wanted and entry.id not in wanted:
                continue
            window.show_screen(entry.id)
            settle()
            picture = folder / f"{entry.id}-{variant}.png"
            window.grab().save(str(picture))
            pictures.append(picture)
        window.close()
    return pictures


if __name__ == "__main__":
    ids = [argument for argument in sys.argv[2:] if not argument.startswith("+")]
    chosen = [argument[1:] for argument in sys.argv[2:] if argument.startswith("+")]
    for path in render(Path(sys.argv[1]), ids, chosen):
        print(path)
