"""Asking third-party code in a process of its own, so that nothing it does reaches the window or the command line."""

import json
import threading
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from studio.core.errors import PluginError
from studio.core.paths import home
from studio.extensions.helper_process import HelperProcess
from studio.extensions.registry import Plugin

TIMEOUT_S = 10.0
LONGEST_TEXT = 500
T = TypeVar("T")


def log_file(plugin_id: str) -> Path:
    """What the plugin printed in its helper processes, tracebacks included."""
    return home().logs / "plugins" / f"{plugin_id}.log"


class Helper:
    """A plugin's helper process: started at the first question, kept until it fails or is closed.

    A plugin that hung, ended its process, flooded its log or garbled its answers is not asked again: the
    error is repeated at once.
    """

    def __init__(self, plugin: Plugin, timeout_s: float = TIMEOUT_S) -> None:
        self.plugin = plugin
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._process: HelperProcess | None = None
        self._broken = ""

    def ask(self, form: TypeAdapter[T], do: str, **arguments: Any) -> T:
        """The plugin's answer, checked to have the form.

        Raises:
            PluginError: it raised, did not answer in time, ended, printed or answered too much, or has another form.
        """
        with self._lock:
            if not self._broken:
                answer = self._exchange({"do": do, **arguments})
            if self._broken:
                raise self._error(self._broken)
        if "result" not in answer:
            raise self._error(answer["error"], str(answer.get("where", "")))
        try:
            return form.validate_python(answer["result"])
        except ValidationError as error:
            wrong = error.errors()[0]
            place = ".".join(str(part) for part in wrong["loc"])
            raise self._error(f"answers {do} wrongly: {place}: {wrong['msg']}") from error

    def close(self) -> None:
        """End the process; its log is complete afterwards."""
        with self._lock:
            self._end()

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """The checked form of an answer; empty, with the reason in ``_broken``, if there is none."""
        self._process = self._process or HelperProcess(
            "studio.extensions.helper", [str(self.plugin.folder), str(self._timeout_s)],
            log=log_file(self.plugin.id), timeout_s=self._timeout_s, cwd=self.plugin.folder,
        )  # fmt: skip
        line, self._broken = self._process.exchange(json.dumps(request, default=str).encode() + b"\n")
        answer = {} if self._broken else _parsed(line)
        if not answer:
            self._broken = self._broken or "gives a garbled answer"
            self._end()
        return answer

    def _end(self) -> None:
        if self._process:
            self._process.end()
        self._process = None

    def _error(self, message: str, where: str = "") -> PluginError:
        hint = f"its output is in {log_file(self.plugin.id)}"
        return PluginError(self.plugin.id, _short(message), where=_short(where), hint=hint)


def _short(text: str) -> str:
    """As much of a plugin's text as a message holds."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) and ("result" in answer or isinstance(answer.get("error"), str)) else {}
