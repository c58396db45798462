"""What the studio needs of this machine, what was found, and what to do about the rest."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from studio.core.errors import StudioError
from studio.core.paths import bundled_plugins, home
from studio.core.units import GIB, format_bytes
from studio.service.settings import load_with_notices

Level = Literal["ok", "warning", "error"]
PACKAGES = ("pydantic", "numpy", "torch", "transformers", "safetensors", "tokenizers", "peewee", "pyqtgraph", "psutil")
IMPORT_LIMIT_S = 120.0
LOW_DISK_BYTES = 5 * GIB
QT_PROBE = "from PySide6.QtWidgets import QApplication; QApplication([])"
TORCH_PROBE = "import torch; print(torch.__version__, 'CUDA' if torch.cuda.is_available() else 'CPU')"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``remedy`` is what to do unless it is ok."""

    name: str
    level: Level
    found: str
    remedy: str = ""


def examine(*, quick: bool = False) -> list[Finding]:
    """All findings. ``quick`` leaves out starting PyTorch and Qt, which takes seconds."""
    checks: list[Callable[[], Finding]] = [
        _python,
        *_package_checks(),
        _disk,
        _home,
        _settings,
        _catalog,
        _plugins,
        _display,
        _gpu,
    ]
    if not quick:
        checks += [_torch_starts, _qt_starts]
    return [check() for check in checks]


def worst(findings: list[Finding]) -> Level:
    """The most serious level among the findings."""
    levels = {finding.level for finding in findings}
    return "error" if "error" in levels else "warning" if "warning" in levels else "ok"


def _python() -> Finding:
    return Finding("Python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def _package_checks() -> list[Callable[[], Finding]]:
    return [lambda name=name: _package(name) for name in PACKAGES]  # type: ignore[misc]


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "error", "not installed", f"{sys.executable} -m pip install {name}")


def _disk() -> Finding:
    place = _existing(home().root)
    free = shutil.disk_usage(place).free
    found = f"{format_bytes(free)} free at {place}"
    if free >= LOW_DISK_BYTES:
        return Finding("Disk", "ok", found)
    return Finding("Disk", "warning", found, "checkpoints and models need room: free some, or move PET_STUDIO_HOME")


def _home() -> Finding:
    root = home().root
    place = _existing(root)
    if os.access(place, os.W_OK):
        return Finding("Studio folder", "ok", str(root))
    return Finding("Studio folder", "error", f"{root} is not writable", "set PET_STUDIO_HOME to a folder of yours")


def _settings() -> Finding:
    notices = load_with_notices().notices
    if notices:
        return Finding("Settings", "warning", " ".join(notices), "open Settings, or edit settings.toml")
    return Finding("Settings", "ok", str(home().settings))


def _catalog() -> Finding:
    with closing(sqlite3.connect(":memory:")) as connection:
        fts5 = bool(connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0])
    found = f"SQLite {sqlite3.sqlite_version}"
    if fts5:
        return Finding("Catalog", "ok", found)
    return Finding("Catalog", "warning", f"{found} without FTS5", "search works, but slower; a newer Python has FTS5")


def _plugins() -> Finding:
    from studio.service.methods import list_methods, method_errors

    try:
        errors: list[StudioError] = list(method_errors())
    except StudioError as error:
        errors = [error]
    if errors:
        return Finding("Plugins", "warning", str(errors[0]).splitlines()[0], "see `pet-studio plugin list`")
    return Finding("Plugins", "ok", f"{len(list_methods())} methods in {bundled_plugins()} and {home().plugins}")


def _display() -> Finding:
    if sys.platform != "linux":
        return Finding("Display", "ok", sys.platform)
    for name in ("WAYLAND_DISPLAY", "DISPLAY", "QT_QPA_PLATFORM"):
        if os.environ.get(name):
            return Finding("Display", "ok", f"{name}={os.environ[name]}")
    return Finding("Display", "warning", "none", "the window needs one; every command works without")


def _gpu() -> Finding:
    from studio.service.devices import list_devices

    gpus = [device for device in list_devices() if device.kind == "cuda"]
    if gpus:
        driver = f", driver {gpus[0].driver}" if gpus[0].driver else ""
        return Finding("GPU", "ok", ", ".join(f"{gpu.id} {gpu.name}" for gpu in gpus) + driver)
    return Finding("GPU", "ok", "no NVIDIA GPU with a driver found; training runs on the CPU")


def _torch_starts() -> Finding:
    return _probe("PyTorch starts", TORCH_PROBE, f"{sys.executable} -m pip install --force-reinstall torch")


def _qt_starts() -> Finding:
    remedy = "install Qt's system libraries: apt install libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1"
    return _probe("Qt starts", QT_PROBE, remedy, {"QT_QPA_PLATFORM": "offscreen"})


def _probe(name: str, code: str, remedy: str, environment: dict[str, str] | None = None) -> Finding:
    """Run a line of Python in a process of its own: what it loads cannot harm or slow this one."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=IMPORT_LIMIT_S, check=False,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding(name, "error", f"no answer within {IMPORT_LIMIT_S:.0f} s", remedy)
    if done.returncode == 0:
        return Finding(name, "ok", done.stdout.strip() or "yes")
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return Finding(name, "error", lines[-1], remedy)


def _existing(path: Path) -> Path:
    """The path or its nearest parent that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
