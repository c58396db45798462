"""``python -m studio.extensions.helper FOLDER SECONDS``: a plugin's torch-free side, in a process of its own.

Requests and answers are JSON, one a line, on what the process got as stdin and stdout. Whatever the plugin prints goes
to stderr.
"""

import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter

from studio.api import Params, Site
from studio.core.errors import PluginError
from studio.core.units import GIB
from studio.extensions.loader import LoadedMethod, load_method
from studio.extensions.manifest import read_manifest
from studio.extensions.registry import Plugin

HEAVY = ("torch", "transformers", "peft", "PySide6")
MEMORY_BYTES = 4 * GIB
_SITES = TypeAdapter(list[Site])


def main(folder: Path, timeout_s: float) -> None:
    """Answer until the requests end; a request that takes too long ends the process, its traceback on stderr."""
    requests, answers = take_channel()
    _limit_memory()
    sys.meta_path.insert(0, _RefuseHeavy())
    plugin = Plugin(read_manifest(folder), folder, "home")
    for line in requests:
        faulthandler.dump_traceback_later(timeout_s, exit=True, file=2)
        answers.write(_answer(plugin, json.loads(line)) + b"\n")
        answers.flush()
        faulthandler.cancel_dump_traceback_later()


class _RefuseHeavy:
    """Refuses the imports that would make a form take seconds to open."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"params.py may not import {name}; import it in method.py", name=name)
        return None


def take_channel() -> tuple[IO[bytes], IO[bytes]]:
    """Requests and answers, out of the reach of code that reads stdin or prints."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, answers


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(plugin: Plugin, request: dict[str, Any]) -> bytes:
    """The result as JSON, or what went wrong; a plugin can do anything, so everything is caught."""
    try:
        return json.dumps({"result": _ACTIONS[request["do"]](load_method(plugin), request)}).encode()
    except PluginError as error:
        traceback.print_exc()
        advice = f" ({error.hint})" if error.hint else ""
        wrong = {"error": error.message.removeprefix(f"plugin {plugin.id!r}: ") + advice, "where": error.where}
    except BaseException as error:  # noqa: BLE001 - sys.exit in a plugin must not end the helper unheard
        traceback.print_exc()
        wrong = {"error": f"{request['do']} fails: {type(error).__name__}: {error}", "where": ""}
    return json.dumps(wrong).encode()


def _describe(method: LoadedMethod, request: dict[str, Any]) -> Any:
    return {
        "params_schema": method.params_schema(),
        "traits": asdict(method.traits),
        "chooses": method.chooses,
        "can_fit": method.can_fit,
    }


def _parse(method: LoadedMethod, request: dict[str, Any]) -> Any:
    params, problems = method.parse(request["params"], request["where"])
    return {
        "params": None if params is None else params.model_dump(mode="json"),
        "problems": [asdict(problem) for problem in problems],
    }


def _declare(method: LoadedMethod, request: dict[str, Any]) -> Any:
    declared = method.declare(_params(method, request), _sites(request))
    return {path: [asdict(decl) for decl in decls] for path, decls in declared.items()}


def _fit(method: LoadedMethod, request: dict[str, Any]) -> Any:
    try:
        fitted = method.fit(_params(method, request), _sites(request), request["budget"])
    except ValueError as error:  # the answer of a method whose smallest size exceeds the budget
        return {"refused": str(error)}
    return {"params": fitted.model_dump(mode="json")}


def _extra_tokens(method: LoadedMethod, request: dict[str, Any]) -> Any:
    return method.extra_tokens(_params(method, request))


def _params(method: LoadedMethod, request: dict[str, Any]) -> Params:
    return method.module.Params.model_validate(request["params"])


def _sites(request: dict[str, Any]) -> list[Site]:
    return _SITES.validate_python(request["sites"])


_ACTIONS: dict[str, Callable[[LoadedMethod, dict[str, Any]], Any]] = {
    "describe": _describe, "parse": _parse, "declare": _declare, "fit": _fit, "extra_tokens": _extra_tokens,
}  # fmt: skip

if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
