"""Third-party plugins for tests: sound ones and hostile ones."""

from pathlib import Path

SOUND = """
from studio.api import ParamDecl, Params as Base, Traits, ui

class Params(Base):
    size: int = ui(2, lo=1, hi=9)

traits = Traits(where="role in (q, v)")

def declare(params, site):
    return (ParamDecl("a", (params.size, site.d_in)),)

def fit(params, sites, budget):
    least = sum(site.d_in for site in sites)
    if budget < least:
        raise ValueError(f"size 1 already has {least}")
    return Params(size=min(9, budget // least))
"""

GARBLES = """
import os

for descriptor in range(3, 64):
    try:
        os.write(descriptor, b"garbage\\n")
    except OSError:
        continue
"""

HOSTILE = {
    "raises": "raise RuntimeError('boom')",
    "shouts": "raise RuntimeError('boom ' * 100_000)",
    "hangs": "while True:\n    pass",
    "ends": "import os\nos._exit(7)",
    "leaves": "import sys\nsys.exit(0)",
    "imports-torch": "import torch",
    "clears": "import sys\nsys.modules.clear()",
    "floods": "while True:\n    print('x' * 10_000)",
    "floods-stderr": "import os\nwhile True:\n    os.write(2, b'x' * 10_000)",
    "garbles": GARBLES,
    "forks": "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n        time.sleep(600)\nos._exit(0)",
    "bloats": "x = bytearray(1 << 40)",
    "lacks-traits": "from studio.api import Params\ndef declare(params, site):\n    return ()",
    "lies": SOUND + "\ntraits = Traits(kinds=('castle',))",
    "overlong": SOUND.replace("class Params(Base):", "class Params(Base):\n    __doc__ = 'x' * 40_000_000"),
}


def write_plugin(root: Path, plugin_id: str, params: str = SOUND, *, method: str = "", **manifest: str) -> Path:
    """A method plugin's folder below ``root``."""
    folder = root / plugin_id
    folder.mkdir(parents=True)
    fields = {"id": plugin_id, "kind": "method", "title": plugin_id, "summary": "Odd.", "version": "1.0.0", **manifest}
    lines = [f'{name} = "{value}"' for name, value in fields.items()]
    (folder / "plugin.toml").write_text("\n".join([*lines, "api = 1", ""]), encoding="utf-8")
    (folder / "params.py").write_text(params, encoding="utf-8")
    if method:
        (folder / "method.py").write_text(method, encoding="utf-8")
        with (folder / "plugin.toml").open("a", encoding="utf-8") as file:
            file.write('[entry]\nmethod = "method"\n')
    return folder
