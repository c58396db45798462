"""The checks of a plugin itself, made once whatever the model: its parameters, its imports, its README."""

import ast
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.conformance.bench import NotApplicableError, require
from studio.extensions.methods import Method

PluginCheck = Callable[[Method, Mapping[str, Any]], None]


def check_parameters(method: Method, given: Mapping[str, Any]) -> None:
    """19: parameters survive JSON, unknown ones are refused, and the form can be drawn."""
    params, problems = method.parse(dict(given), "params")
    require(params is not None, f"has no complete defaults: {'; '.join(map(str, problems))}")
    assert params is not None
    raw = json.loads(json.dumps(params.model_dump(mode="json")))
    again, problems = method.parse(raw, "params")
    require(again == params and not problems, "parameters change on their way through JSON")
    parsed, problems = method.parse({**raw, "no_such_field": 1}, "params")
    refused = parsed is None and [p.where for p in problems] == ["params.no_such_field"]
    require(refused, "unknown parameters are accepted")
    for name, field in method.params_schema().get("properties", {}).items():
        require(bool(field.get("ui", {}).get("label")), f"parameter {name} has no label")
        require(str(field.get("description", "")).endswith("."), f"parameter {name} has no help sentence")


def check_sources(method: Method, given: Mapping[str, Any]) -> None:
    """20: params.py needs no torch, the plugin imports the studio's api alone, and the README says what it must."""
    plugin = method.plugin
    if plugin.origin == "peft":
        raise NotApplicableError("it has no sources of its own")
    for path in sorted(plugin.folder.glob("*.py")):
        for name in _imports(path):
            top = name.split(".")[0]
            inside = top == "studio" and name != "studio.api" and not name.startswith("studio.api.")
            require(not inside, f"{path.name} imports {name}; of the studio, only studio.api is allowed")
            heavy = path.name == f"{plugin.manifest.entry.params}.py" and top in ("torch", "transformers", "peft")
            require(not heavy, f"{path.name} imports {name}: forms and counts run without it")
    readme = plugin.folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    missing = [part for part in ("**Equation.**", "**Cost.**", "**When not.**") if part not in text]
    require(not missing, f"README.md lacks {', '.join(missing)}")


PLUGIN_CHECKS: dict[str, PluginCheck] = {"parameters": check_parameters, "sources": check_sources}


def _imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names
