"""Plugins as the user handles them: list, make, check, install, turn on and off, remove."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from studio.core.errors import Cancelled, PluginError, UserError
from studio.core.paths import home
from studio.extensions import descriptions, installer, isolated
from studio.extensions.choices import choose
from studio.extensions.helper_process import kill_session
from studio.extensions.isolation import log_file
from studio.extensions.manifest import read_manifest
from studio.extensions.registry import OURS, Origin, Plugin, discover
from studio.extensions.scaffold import scaffold
from studio.rundir.launch import tail, worker_environment
from studio.service.check_reports import Report, keep_report, kept_report, report_file

CHECK_TIMEOUT_S = 600.0
_CANCEL_S = 0.2  # between looks at whether the user cancelled
_KIT = "studio.conformance"
_LOG_LINES = 200


@dataclass(frozen=True)
class PluginInfo:
    """A plugin as lists show it; of one whose manifest cannot be read only ``id``, ``folder`` and ``error`` are known.

    ``origin``: it ships with the studio, lies in the user's plugins folder, or pip installed it.
    """

    id: str
    kind: str
    title: str
    summary: str
    version: str
    origin: Origin | None
    folder: str
    enabled: bool
    error: str


class _Refusal(BaseModel):
    message: str
    where: str = ""
    hint: str = ""


class _Refused(BaseModel):
    """What the kit writes in place of a report about a plugin that it cannot load."""

    error: _Refusal


_ANSWER: TypeAdapter[Report | _Refused] = TypeAdapter(Report | _Refused)


def list_plugins() -> list[PluginInfo]:
    """Every plugin, sorted by id, those with errors included; code of a plugin that is off does not run."""
    registry = discover()
    wrong = _errors(registry.plugins.values())
    on = [_info(plugin, True, wrong) for plugin in registry.plugins.values()]
    off = [_info(plugin, False) for plugin in registry.disabled.values()]
    return sorted([*on, *off, *map(_unusable, registry.errors)], key=lambda info: info.id)


def enable(plugin_id: str) -> PluginInfo:
    """Turn a plugin on and try it: ``error`` says what is wrong with it."""
    plugin = discover().find(plugin_id)
    isolated.forget(plugin_id)
    choose(plugin_id, True)
    return _info(plugin, True, _errors([plugin]))


def disable(plugin_id: str) -> PluginInfo:
    """Turn a plugin off: it is listed here and nowhere else."""
    plugin = discover().find(plugin_id)
    isolated.forget(plugin_id)
    choose(plugin_id, False)
    return _info(plugin, False)


def install(path: Path, *, replace: bool = False) -> PluginInfo:
    """Copy the plugin of a folder, zip or wheel into the home and enable it; see ``installer.install``."""
    plugin = installer.install(path, replace=replace)
    return _info(plugin, True, _errors([plugin]))


def remove(plugin_id: str) -> None:
    """Delete a plugin from the home, with what is known of it."""
    installer.remove(plugin_id)
    isolated.forget(plugin_id)
    for kept in (log_file(plugin_id), report_file(plugin_id)):
        kept.unlink(missing_ok=True)


def new(plugin_id: str, kind: str = "method", out: Path | None = None) -> Path:
    """Make a plugin that works, to be edited: in the home, enabled, or as a folder in ``out``."""
    installer.check_free(plugin_id)
    if out is not None:
        folder = out / plugin_id
        if folder.exists():
            raise UserError("there is something already", where=str(folder), hint="choose another id or --out")
        scaffold(plugin_id, kind, folder)
        return folder
    with installer.staging() as scratch:
        scaffold(plugin_id, kind, scratch / plugin_id)
        installer.put(scratch / plugin_id, plugin_id)
    choose(plugin_id, True)
    return home().plugins / plugin_id


def log_of(plugin_id: str) -> str:
    """The end of what the plugin printed in its helpers; empty if nothing."""
    return tail(log_file(plugin_id), lines=_LOG_LINES)


def report_of(plugin_id: str) -> Report | None:
    """What the last check of a plugin found; None if it was not checked, or changed since."""
    return kept_report(discover().find(plugin_id))


def folder_of(plugin: str) -> Path:
    """The folder that a path or a plugin's id names."""
    path = Path(plugin)
    return path if path.is_dir() else discover().find(plugin).folder


def check(path: Path, timeout_s: float = CHECK_TIMEOUT_S, *, cancelled: Callable[[], bool] = lambda: False) -> Report:
    """Run the conformance kit on a plugin folder, in a process of its own; the report is kept.

    Raises:
        PluginError: the plugin cannot be loaded, or the kit did not end in time or wrote no report.
        Cancelled: ``cancelled`` said so.
    """
    manifest = read_manifest(path)
    plugin_id = manifest.id
    with tempfile.TemporaryDirectory() as scratch:
        out, printed = Path(scratch, "report.json"), Path(scratch, "printed.log")
        _run_kit(path, out, printed, timeout_s, plugin_id, cancelled)
        try:
            answer = _ANSWER.validate_json(out.read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise PluginError(plugin_id, "the check wrote no report", where=str(path), hint=tail(printed)) from error
    if isinstance(answer, Report):
        keep_report(Plugin(manifest, path.absolute(), "home"), answer)
        return answer
    message = answer.error.message.removeprefix(f"plugin {plugin_id!r}: ")
    raise PluginError(plugin_id, message, where=answer.error.where, hint=answer.error.hint)


def _run_kit(
    path: Path, out: Path, printed: Path, timeout_s: float, plugin_id: str, cancelled: Callable[[], bool]
) -> None:
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _KIT, str(path.absolute()), "--json", str(out)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=worker_environment(),
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + timeout_s
        try:
            while process.poll() is None:
                if cancelled():
                    raise Cancelled
                if time.monotonic() > deadline:
                    late = f"the check did not end within {timeout_s:g} s"
                    raise PluginError(plugin_id, late, where=str(path), hint=tail(printed))
                time.sleep(_CANCEL_S)
        finally:
            kill_session(process)
            process.wait()


def _errors(plugins: Iterable[Plugin]) -> dict[str, PluginError]:
    """What is wrong with third-party methods; the other kinds have nothing that the window or command line runs."""
    return descriptions.describe_all(p for p in plugins if p.origin not in OURS and p.manifest.kind == "method")


def _info(plugin: Plugin, enabled: bool, wrong: Mapping[str, PluginError] | None = None) -> PluginInfo:
    manifest, error = plugin.manifest, (wrong or {}).get(plugin.id)
    return PluginInfo(
        plugin.id, manifest.kind, manifest.title, manifest.summary, manifest.version, plugin.origin,
        str(plugin.folder), enabled, str(error or ""),
    )  # fmt: skip


def _unusable(error: PluginError) -> PluginInfo:
    return PluginInfo(error.plugin, "", "", "", "", None, error.where, False, str(error))
