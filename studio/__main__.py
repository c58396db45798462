"""Decides between window and command line from the arguments alone; imports nothing heavy."""

import gc
import os
import sys
from collections.abc import Sequence

WINDOW_OPTIONS = ("--smoke-test",)
SPEC_ENDINGS = (".yaml", ".yml", ".json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the window without a command (or with a spec file to look at), else run the command; the exit code."""
    if getattr(sys, "frozen", False):
        from multiprocessing import freeze_support

        freeze_support()
    # no plugin of pydantic is ours; looking for one costs as much as a short command
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not _wants_window(given):
        gc.set_threshold(200_000)  # starting makes many objects and hardly a cycle
        from studio.cli.app import run

        try:
            return run(given)
        finally:
            gc.freeze()  # on its way out Python would search all of it for cycles, twice
    if not _has_display():
        print(
            "error: no display for the window\n"
            "  `pet-studio --help` lists the commands, which need none; `pet-studio quickstart` trains a first model",
            file=sys.stderr,
        )
        return 3
    from studio.gui.app import main as open_window

    return open_window(["pet-studio", *given])


def _wants_window(given: Sequence[str]) -> bool:
    return not given or given[0] in WINDOW_OPTIONS or given[0].endswith(SPEC_ENDINGS)


def _has_display() -> bool:
    if sys.platform != "linux":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


if __name__ == "__main__":
    sys.exit(main())
