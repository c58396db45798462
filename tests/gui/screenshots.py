"""Pictures of every screen for the help pages and the README.

``python tests/gui/screenshots.py [FOLDER] [NAMES…] [+light +dark +wide +large-text]`` draws them anew, by default the
light and the dark ones into resources/help/screens.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import QEventLoop, QItemSelectionModel, QSize, QTimer
from PySide6.QtGui import QImage

from studio.core.facts import DeviceFacts
from studio.core.paths import home
from studio.gui.app import make_application
from studio.gui.main_window import MainWindow
from studio.gui.plots.queue import plot_queue
from studio.gui.screens.devices.readings import read_devices
from studio.gui.screens.live import run_view
from studio.gui.tasks import task_hub
from studio.gui.theme import theme
from tests.gui.fake_backend import CPU, GPU
from tests.gui.gallery import COMPARED, LIVE, NOW, GalleryBackend, draft, write_runs

STORED = Path(__file__).resolve().parents[2] / "resources" / "help" / "screens"
SIZE, WIDE = QSize(1280, 800), QSize(1920, 1080)
VARIANTS = {
    "light": ("light", 1.0, SIZE),
    "dark": ("dark", 1.0, SIZE),
    "wide": ("dark", 1.0, WIDE),
    "large-text": ("light", 1.5, SIZE),
}
QUIET_TURNS, PATIENCE_S = 12, 20


@dataclass(frozen=True)
class Scene:
    """One picture: a screen, what it is entered with, and what is done before the picture is taken."""

    name: str
    screen: str
    argument: Any = None
    prepare: Callable[[Any], None] = lambda _screen: None


def _show_outputs(screen: Any) -> None:
    screen.view.tabs.setCurrentWidget(screen.view.samples)


def _show_curves(screen: Any) -> None:
    screen.view.tabs.setCurrentIndex(0)


def _read_as_tokens(screen: Any) -> None:
    screen.panel.reader.setCurrentText("smollm2-135m-instruct")
    screen.panel.reader.activated.emit(screen.panel.reader.currentIndex())


def _measure_lengths(screen: Any) -> None:
    screen.panel._tabs.setCurrentWidget(screen.panel.lengths)
    screen.panel.lengths.longest.setText("256")


def _find_faults(screen: Any) -> None:
    screen.panel._tabs.setCurrentWidget(screen.panel.findings)
    screen.panel.findings.check.click()
    _settle()
    screen.panel.findings.choices[1][1].click()


def _select_one(screen: Any) -> None:
    _select(screen, COMPARED[:1])


def _compare(screen: Any) -> None:
    _select(screen, COMPARED)
    screen.act("compare")


def _select(screen: Any, names: tuple[str, ...]) -> None:
    screen.pages.setCurrentIndex(0)
    flags = QItemSelectionModel.SelectionFlag
    screen.table.clearSelection()
    for row in range(screen.model.rowCount()):
        record = screen.model.record(row)
        if record is not None and record.name in names:
            screen.table.selectionModel().select(screen.model.index(row, 0), flags.Select | flags.Rows)


def _live_for_minutes(screen: Any) -> None:
    """Five minutes of readings at once; the clock of the pictures stands still."""
    screen.leave()
    _settle()
    backend = screen.backend
    for card in screen.cards.values():
        card.deleteLater()
    screen.cards.clear()
    for second in range(-300, 1):
        backend.clock = NOW + second
        screen._show(read_devices(backend, ()))
        if not screen.cards:
            _settle()


def _without_gpu(screen: Any) -> None:
    screen.backend.device_list = [CPU]
    _live_for_minutes(screen)


def _show_accuracy(screen: Any) -> None:
    _without_gpu(screen)
    _settle()
    bar = screen._column.verticalScrollBar()
    bar.setValue(bar.maximum())


def _forget_gpu(screen: Any) -> None:
    _check_on(screen, CPU)


def _forget_memory(screen: Any) -> None:
    _check_on(screen, GPU.model_copy(update={"total_bytes": 0, "free_bytes": 0}))


def _check_on(screen: Any, device: DeviceFacts) -> None:
    screen.backend.device_list = [device]
    screen.checker.check_now()


SCENES = (
    Scene("first-run", "first_run"),
    Scene("new-run-fits", "new_run", {"spec": draft("qwen2.5-1.5b", "lora")}),
    Scene("new-run-close", "new_run", {"spec": draft("mistral-7b-v0.3", "lora", micro_batch=1)}),
    Scene("new-run-does-not-fit", "new_run", {"spec": draft("mistral-7b-v0.3", "lora", micro_batch=4)}),
    Scene("run", "run", LIVE, _show_curves),
    Scene("run-outputs", "run", LIVE, _show_outputs),
    Scene("runs", "runs", None, _select_one),
    Scene("compare", "runs", None, _compare),
    Scene("models", "models", "qwen2.5-1.5b"),
    Scene("data", "data", "medical-subjects", _read_as_tokens),
    Scene("lengths", "data", "medical-subjects", _measure_lengths),
    Scene("findings", "data", "medical-subjects", _find_faults),
    Scene("methods", "methods", "lora"),
    Scene("devices", "devices", None, _live_for_minutes),
    Scene("devices-no-gpu", "devices", None, _without_gpu),
    Scene("accuracy", "devices", None, _show_accuracy),
    Scene("settings", "settings"),
    Scene("new-run-no-gpu", "new_run", {"spec": draft("smollm2-135m-instruct", "lora")}, _forget_gpu),
    Scene("new-run-unknown", "new_run", {"spec": draft("qwen2.5-1.5b", "lora")}, _forget_memory),
)


@contextmanager
def fixed_clock() -> Iterator[None]:
    """Elapsed times and dates that are the same in every picture."""
    before, zone = run_view.time, os.environ.get("TZ")
    run_view.time = SimpleNamespace(time=lambda: NOW)  # type: ignore[assignment]
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        run_view.time = before
        if zone is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = zone
        time.tzset()


def pictures(
    variants: tuple[str, ...] = ("light", "dark"), names: tuple[str, ...] = ()
) -> Iterator[tuple[str, QImage]]:
    """Draw the scenes (all when no names are given) in the home of the environment; yields (file stem, picture)."""
    application = make_application(["screenshots"])
    application.setCursorFlashTime(0)
    writers = write_runs(home().runs)
    theme().apply("light")
    window = MainWindow(GalleryBackend())
    window.show()
    window.start_background_work()
    try:
        with fixed_clock():
            for scene in SCENES:
                if not names or scene.name in names:
                    yield from _draw(window, scene, variants)
    finally:
        window._may_close = True
        window.close()
        for writer in writers:
            writer.release()


def _draw(window: MainWindow, scene: Scene, variants: tuple[str, ...]) -> Iterator[tuple[str, QImage]]:
    for place, variant in enumerate(variants):
        name, scale, size = VARIANTS[variant]
        theme().apply(name, scale)
        window.resize(size)
        if place == 0:
            window.show_screen(scene.screen, scene.argument)
            _settle()
            scene.prepare(window.current)
            window.setFocus()
        _settle()
        yield f"{scene.name}-{variant}", window.grab().toImage()


def _settle() -> None:
    """Until nothing has happened for some turns of the event loop; one of its own, since qWait starves threads.

    Turns, not time: on a busy machine a quarter of a second may pass in one.
    """
    deadline, quiet = time.monotonic() + PATIENCE_S, 0
    while time.monotonic() < deadline and quiet < QUIET_TURNS:
        loop = QEventLoop()
        QTimer.singleShot(20, loop.quit)
        loop.exec()
        quiet = 0 if task_hub().running or plot_queue().is_busy else quiet + 1


def save(picture: QImage, path: Path) -> None:
    """As small as PNG allows: in the 256 most frequent colours, the rare greys of letters in their neighbours."""
    pixels = colors_of(picture)
    found, places, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    palette = found[np.argsort(-counts)[:256]]
    distances = np.abs(found[:, None].astype(int) - palette[None].astype(int)).sum(axis=2)
    indexed = distances.argmin(axis=1).astype(np.uint8)[places].reshape(pixels.shape[:2])
    image = Image.fromarray(indexed).convert("P")
    image.putpalette(palette.tobytes())
    image.save(path, optimize=True)


def colors_of(picture: QImage) -> NDArray[np.uint8]:
    """The pixels as height x width x 3."""
    plain = picture.convertToFormat(QImage.Format.Format_RGB888)
    lines = np.frombuffer(plain.constBits(), np.uint8).reshape(plain.height(), plain.bytesPerLine())
    return lines[:, : 3 * plain.width()].reshape(plain.height(), plain.width(), 3).copy()  # outlives the image


def main(arguments: list[str]) -> None:
    names = tuple(argument for argument in arguments[1:] if not argument.startswith("+"))
    chosen = tuple(argument[1:] for argument in arguments if argument.startswith("+"))
    folder = Path(arguments[0]) if arguments else STORED
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with tempfile.TemporaryDirectory(prefix="pet-studio-pictures-") as place:
        os.environ["PET_STUDIO_HOME"] = place
        for stem, picture in pictures(chosen or ("light", "dark"), names):
            save(picture, folder / f"{stem}.png")
            print(folder / f"{stem}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
