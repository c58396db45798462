#!/usr/bin/env python3
"""Set the studio up in ``.venv`` and run it, or run its tests. Needs Python 3.11 and nothing else.

python3 packaging/bootstrap.py run [--headless] [options of the studio]
python3 packaging/bootstrap.py test [options of pytest]
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / "installed.txt"
SIDE_BY_SIDE = ("tests/plugins", "tests/unit/engine", "tests/unit/simulate")  # the others have limits of time
MOST_PROCESSES = 8
QT_LIBRARIES = (
    "libegl1", "libgl1", "libopengl0", "libxkbcommon0", "libdbus-1-3", "libfontconfig1", "libxcb-icccm4",
    "libxcb-keysyms1", "libxcb-cursor0", "libxcb-image0", "libxcb-render-util0", "libxcb-shape0", "libxcb-xinerama0",
    "libxcb-xkb1", "libxkbcommon-x11-0", "libglib2.0-0",
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """The exit code of what was run."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts this may well have an older one
        return fail(f"PET Studio needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    if not argv or argv[0] not in ("run", "test"):
        print(__doc__)
        return 2
    command, rest = argv[0], list(argv[1:])
    extras = "test" if command == "test" else ""
    if (code := set_up(extras)) != 0:
        return code
    return run(rest) if command == "run" else test(rest)


def set_up(extras: str) -> int:
    """Make ``.venv`` with the pinned set, if it is not there already."""
    wanted = f"{_fingerprint()} {extras}".strip()
    if STAMP.is_file() and STAMP.read_text().strip() in (wanted, f"{_fingerprint()} test"):
        return 0
    install_qt_libraries()
    if not venv_python().exists() and (code := make_venv()) != 0:
        return code
    constraints = ROOT / "packaging" / "constraints.txt"
    target = f"{ROOT}[{extras}]" if extras else str(ROOT)
    pip = [str(venv_python()), "-m", "pip", "install", "--disable-pip-version-check", "-c", str(constraints)]
    say("installing PyTorch (CPU build unless your package index offers another)")
    if (code := subprocess.call([*pip, "--quiet", *_torch()])) != 0:
        return fail("PyTorch could not be installed; see pip's message above")
    say("installing PET Studio and what it needs")
    if (code := subprocess.call([*pip, "--quiet", "--editable", target])) != 0:
        return fail("the installation failed; see pip's message above, then run this again")
    STAMP.write_text(wanted)
    return 0


def make_venv() -> int:
    """Create ``.venv``; Debian keeps the module that does so in a package of its own."""
    say("creating .venv")
    for attempt in range(2):
        if subprocess.call([sys.executable, "-m", "venv", str(VENV)], stdout=subprocess.DEVNULL) == 0:
            return 0
        shutil.rmtree(VENV, ignore_errors=True)
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        if attempt or not apt_install(package):
            return fail(f"Python cannot create environments here: install the system package {package}")
    return 1


def install_qt_libraries() -> None:
    """The system libraries that Qt loads, where this may be done without asking."""
    if not shutil.which("dpkg-query"):
        return
    known = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Status}\n", *QT_LIBRARIES],
                           capture_output=True, text=True, check=False).stdout  # fmt: skip
    missing = [name for name in QT_LIBRARIES if f"{name} install ok installed" not in known]
    if missing and not apt_install(*missing):
        say(f"Qt's window may need these system packages: {' '.join(missing)}")


def apt_install(*packages: str) -> bool:
    """Install Debian packages if this is root on Debian; whether that worked."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    say(f"installing system packages: {' '.join(packages)}")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if subprocess.call(install, env=environment, **quiet) == 0:
        return True
    subprocess.call(["apt-get", "update"], env=environment, **quiet)
    return subprocess.call(install, env=environment, **quiet) == 0


def run(rest: list[str]) -> int:
    """Open the studio; without a display, or with ``--headless``, run the quickstart in the terminal."""
    headless = "--headless" in rest
    rest = [argument for argument in rest if argument != "--headless"]
    studio = [str(venv_python()), "-m", "studio"]
    if headless or not has_display():
        return subprocess.call([*studio, "quickstart", *rest], cwd=ROOT)
    return subprocess.call([*studio, *rest], cwd=ROOT)


def test(rest: list[str]) -> int:
    """Every gate, then the test suite offscreen."""
    python = str(venv_python())
    bin_ = venv_python().parent
    gates = [
        [str(bin_ / "ruff"), "format", "--check", "--quiet", "."],
        [str(bin_ / "ruff"), "check", "--quiet", "."],
        [str(bin_ / "mypy")],
        [str(bin_ / "lint-imports")],
    ]
    if not rest:
        for gate in gates:
            say(" ".join([Path(gate[0]).name, *gate[1:]]))
            if (code := subprocess.call(gate, cwd=ROOT)) != 0:
                return code
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    pytest = [python, "-m", "pytest"]
    if rest:
        return subprocess.call([*pytest, *rest], cwd=ROOT, env=environment)
    processes = str(min(os.cpu_count() or 1, MOST_PROCESSES))
    first = [*pytest, "-n", processes, "--dist", "worksteal", *SIDE_BY_SIDE]
    if (code := subprocess.call(first, cwd=ROOT, env={**environment, "OMP_NUM_THREADS": "1"})) != 0:
        return code
    others = [f"--ignore={folder}" for folder in SIDE_BY_SIDE]
    return subprocess.call([*pytest, *others], cwd=ROOT, env=environment)


def has_display() -> bool:
    """Whether a window can open."""
    return (
        os.name == "nt"
        or sys.platform == "darwin"
        or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    )


def venv_python() -> Path:
    """The environment's interpreter."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def say(text: str) -> None:
    """One line of progress."""
    print(f"· {text}", flush=True)


def fail(text: str) -> int:
    """Say what is missing; the exit code for that."""
    print(f"PET Studio: {text}", file=sys.stderr)
    return 3


def _torch() -> list[str]:
    lines = (ROOT / "packaging" / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line.startswith("torch==")]


def _fingerprint() -> str:
    content = (ROOT / "pyproject.toml").read_bytes() + (ROOT / "packaging" / "constraints.txt").read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
