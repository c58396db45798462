"""The import directions, seen at run time: what a window, a command line and a worker really load."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.paths import bundled_plugins, import_root

HEAVY = {"torch", "transformers", "peft", "accelerate", "pyqtgraph", "peewee", "pyarrow", "tokenizers", "gguf"}


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys, json; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=import_root(), capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_that_the_window_loads_neither_torch_nor_plots_nor_the_database() -> None:
    loaded = modules_after("import studio.gui.app")
    assert "PySide6" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("module", ["studio.__main__", "studio.cli.app", "studio.service.methods"])
def test_that_the_command_line_starts_light(module: str) -> None:
    assert not modules_after(f"import {module}") & (HEAVY | {"PySide6"})


def test_that_the_worker_loads_neither_qt_nor_the_database() -> None:
    loaded = modules_after("import studio.worker.__main__, studio.engine.run, studio.devices")
    assert "torch" in loaded
    assert not loaded & {"PySide6", "pyqtgraph", "peewee"}


@pytest.mark.parametrize("path", sorted(bundled_plugins().glob("*/*.py")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_that_a_plugin_imports_the_api_alone_and_its_params_no_torch(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    ours = {name for name in imported if name.split(".")[0] == "studio"}
    assert all(name == "studio.api" or name.startswith("studio.api.") for name in ours)
    if path.name != "method.py":
        assert not {name.split(".")[0] for name in imported} & {"torch", "transformers"}
