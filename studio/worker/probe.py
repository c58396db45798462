"""Measure a plan by a few real steps: ``python -m studio.worker.probe FOLDER STEPS``; ends with whoever started it."""

import os
import shutil
import sys
import threading
import time
from pathlib import Path

import psutil

from studio.models.child import child_main
from studio.rundir.layout import RunFolder

USAGE = "usage: python -m studio.worker.probe FOLDER STEPS"
LOOK_S = 0.5


def main(arguments: list[str]) -> int:
    """Measure and report in JSON lines on stdout; the exit code is 0, 1 (failed), 2 (wrong input) or 3 (machine)."""
    if len(arguments) != 2 or not arguments[1].isdigit():
        print(USAGE, file=sys.stderr)
        return 2
    folder, steps = RunFolder(Path(arguments[0])), int(arguments[1])
    threading.Thread(target=_end_with, args=(psutil.Process().parent(), folder.path), daemon=True).start()
    from studio.engine.probe import probe  # torch takes seconds; a wrong call need not wait for it

    try:
        return child_main(lambda report: probe(folder, steps, report).model_dump())
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)


def _end_with(starter: psutil.Process | None, folder: Path) -> None:
    """Wait for the end of the starter; then end too, whatever takes so long, and leave nothing behind."""
    while starter is not None and starter.is_running():
        time.sleep(LOOK_S)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
