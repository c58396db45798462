"""From process start to the first paint of the main window, with 1,000 runs in the catalog.

``python tests/bench/startup.py [RUNS] [REPEATS]``; offscreen, and on the desktop too where DISPLAY is set.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
TARGET_S = 1.0
# the interpreter's own start counts too: the clock is the kernel's, from the time the process began
PROBE = """
import os, time
def since_start():
    ticks = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
import sys
from PySide6.QtCore import QObject, QEvent, QTimer
from studio.gui import app, main_window
class FirstPaint(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint and self.wanted:
            self.wanted = False
            QTimer.singleShot(0, self.tell)
        return False
    def tell(self):
        print(since_start(), flush=True)
        os._exit(0)
made = app.make_application(["pet-studio"])
watcher = FirstPaint()
watcher.wanted = True
open_window = app.open_window
def opened(backend):
    window = open_window(backend)
    window.stack.installEventFilter(watcher)
    window.rail.installEventFilter(watcher)
    return window
app.open_window = opened
app.main(["pet-studio"])
"""


def fill(home: Path, runs: int) -> None:
    """A home with finished runs in the catalog and a dataset, so that the window opens on New run."""
    os.environ["PET_STUDIO_HOME"] = str(home)
    from studio.service import runs as catalog
    from studio.service.libraries import datasets
    from tests.helpers.runs import make_run
    from tests.helpers.tiny import make_reviews

    for number in range(runs):
        make_run(f"20261124-{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}-run-{number:04x}")
    catalog.refresh()
    datasets().add(make_reviews(home / "reviews.csv"))


def measure(platform: str, repeats: int) -> list[float]:
    """Seconds of each start; the first of all, which fills the disk cache, is left out."""
    environment = {**os.environ, "QT_QPA_PLATFORM": platform}
    seconds = []
    for _ in range(repeats + 1):
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        seconds.append(float(done.stdout.splitlines()[-1]))
    return seconds[1:]


def main(arguments: list[str]) -> None:
    runs, repeats = (int(arguments[i]) if len(arguments) > i else default for i, default in ((0, 1000), (1, 5)))
    with tempfile.TemporaryDirectory(prefix="pet-studio-startup-") as place:
        fill(Path(place), runs)
        for platform in ("offscreen", *(("xcb",) if os.environ.get("DISPLAY") else ())):
            seconds = measure(platform, repeats)
            print(json.dumps({
                "platform": platform, "runs": runs, "least_s": round(min(seconds), 3),
                "median_s": round(statistics.median(seconds), 3), "target_s": TARGET_S,
            }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
