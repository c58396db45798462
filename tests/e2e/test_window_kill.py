"""The window dies by ``kill -9`` while a run trains; the run goes on, and a new window shows all of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.core.paths import import_root
from studio.core.state import fold
from studio.gui.app import dress, make_application
from studio.gui.backend import Backend
from studio.gui.screens.live.screen import RunScreen
from studio.rundir.lock import is_alive
from studio.rundir.log import read_all_events
from studio.service.start_run import run_folder
from tests.e2e.conftest import wait_for, wait_until_ended
from tests.helpers import tiny

STEPS = 300
WINDOW = """
import json, sys
from studio.gui.app import make_application, open_window
from studio.gui.backend import Backend
app = make_application(["window"])
backend = Backend()
window = open_window(backend)
run_id = backend.start_run(json.loads(sys.argv[1]))
window.show_screen("run", run_id)
print(run_id, flush=True)
app.exec()
"""


@pytest.fixture
def app(qapp: QApplication) -> Iterator[QApplication]:
    made = make_application(["test"])
    dress(Backend().load_settings())
    return made


@pytest.mark.qt_log_ignore(r"This plugin does not support propagateSizeHints\(\)", extend=True)
def test_that_a_killed_window_leaves_the_run_alone_and_a_new_one_shows_it_without_a_gap(
    app: QApplication, qtbot: QtBot, tiny_llama: Path, questions: Path
) -> None:
    spec = tiny.questions_spec(tiny_llama, questions, max_steps=STEPS, eval_every=STEPS, save_every=STEPS)
    window = subprocess.Popen(
        [sys.executable, "-c", WINDOW, json.dumps(spec)], cwd=import_root(), stdout=subprocess.PIPE, text=True
    )
    assert window.stdout is not None
    run_id = window.stdout.readline().strip()
    folder = run_folder(run_id)
    wait_for(lambda: fold(read_all_events(folder.events)).step >= 3)
    window.send_signal(signal.SIGKILL)
    window.wait()
    window.stdout.close()
    assert is_alive(folder.path)

    screen = RunScreen(Backend())
    qtbot.addWidget(screen)
    screen.show()
    screen.enter(run_id)
    qtbot.waitUntil(lambda: screen.view.snapshot.step > 3, timeout=20_000)
    wait_until_ended(run_id)
    qtbot.waitUntil(lambda: screen.view.state == "completed", timeout=20_000)
    drawn = screen.view.charts.loss._curves["raw"]
    assert drawn.x.tolist() == list(range(1, STEPS + 1))
    assert len(drawn.y) == STEPS
    screen.leave()
