"""A program: starts the window as the studio does, visits each screen once, prints the longest pauses as JSON."""

import json
import sys
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from studio.core.paths import home
from studio.gui.app import make_application
from studio.gui.backend import Backend
from studio.gui.main_window import MainWindow
from studio.gui.theme import theme
from tests.gui.fake_backend import FakeBackend
from tests.gui.heartbeat import Heartbeat
from tests.gui.run_writer import RunWriter, write_running

ORDER = ("run", "runs", "new_run", "models", "data", "methods", "devices", "settings")


class Asking(FakeBackend):
    """Asks the catalog for running runs, as the studio does from the start on."""

    active_runs = Backend.active_runs


def wait(ms: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(ms, loop.quit)
    loop.exec()


def main() -> None:
    sys.setswitchinterval(0.002)  # as the studio does
    writer = write_running(RunWriter(home().runs), 340)
    make_application(["first visits"])
    theme().apply("dark")
    window = MainWindow(Asking())
    window.resize(1280, 800)
    window.show_screen("first_run")
    window.show()
    wait(50)
    heartbeat = Heartbeat(window)
    window.start_background_work()
    wait(1500)
    pauses = {"start": heartbeat.longest_ms()}
    heartbeat.stop()
    for screen in ORDER:
        heartbeat = Heartbeat(window)
        wait(100)
        window.show_screen(screen, writer.folder.id if screen == "run" else None)
        wait(1500 if screen in ("run", "devices") else 600)
        pauses[screen] = heartbeat.longest_ms()
        heartbeat.stop()
    plots = window._screens["run"].view.charts.plots  # type: ignore[attr-defined]
    drawn = sum(plot.canvas is not None for plot in plots)
    print(json.dumps({"pauses": pauses, "drawn": drawn, "plots": len(plots)}))
    writer.release()


if __name__ == "__main__":
    main()
