"""Plugins as the user handles them: list, make, check, install, turn on and off, remove."""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import PluginError, UserError
from studio.core.paths import home
from studio.extensions import descriptions, installer
from studio.extensions.choices import choose
from studio.extensions.helper_process import kill_session
from studio.extensions.isolation import log_file
from studio.extensions.manifest import read_manifest
from studio.extensions.registry import Origin, Plugin, discover
from studio.extensions.scaffold import scaffold
from studio.rundir.launch import tail, worker_environment

CHECK_TIMEOUT_S = 600.0
_KIT = "studio.conformance"
_ASKED_AT_ONCE = 4
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


class CheckResult(BaseModel):
    """One check of the conformance kit."""

    model_config = ConfigDict(frozen=True)

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""


class Report(BaseModel):
    """What the conformance kit found."""

    model_config = ConfigDict(frozen=True)

    plugin: str
    checks: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        return all(check.outcome != "failed" for check in self.checks)


def list_plugins() -> list[PluginInfo]:
    """Every plugin, sorted by id, those with errors included; code of a plugin that is off does not run."""
    registry = discover()
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        on = list(pool.map(lambda plugin: _info(plugin, True), registry.plugins.values()))
    off = [_info(plugin, False) for plugin in registry.disabled.values()]
    return sorted([*on, *off, *map(_unusable, registry.errors)], key=lambda info: info.id)


def enable(plugin_id: str) -> PluginInfo:
    """Turn a plugin on and try it: ``error`` says what is wrong with it."""
    plugin = discover().find(plugin_id)
    descriptions.forget(plugin_id)
    choose(plugin_id, True)
    return _info(plugin, True)


def disable(plugin_id: str) -> PluginInfo:
    """Turn a plugin off: it is listed here and nowhere else."""
    plugin = discover().find(plugin_id)
    choose(plugin_id, False)
    return _info(plugin, False)


def install(path: Path, *, replace: bool = False) -> PluginInfo:
    """Copy the plugin of a folder, zip or wheel into the home and enable it; see ``installer.install``."""
    return _info(installer.install(path, replace=replace), True)


def remove(plugin_id: str) -> None:
    """Delete a plugin from the home, with what is known of it."""
    installer.remove(plugin_id)
    descriptions.forget(plugin_id)
    log_file(plugin_id).unlink(missing_ok=True)


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


def folder_of(plugin: str) -> Path:
    """The folder that a path or a plugin's id names."""
    path = Path(plugin)
    return path if path.is_dir() else discover().find(plugin).folder


def check(path: Path, timeout_s: float = CHECK_TIMEOUT_S) -> Report:
    """Run the conformance kit on a plugin folder, in a process of its own.

    Raises:
        PluginError: the manifest is wrong, the kit did not end in time or wrote no report.
    """
    manifest = read_manifest(path)
    with tempfile.TemporaryDirectory() as scratch:
        out, printed = Path(scratch, "report.json"), Path(scratch, "printed.log")
        _run_kit(path, out, printed, timeout_s, manifest.id)
        try:
            return Report.model_validate_json(out.read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise PluginError(manifest.id, "the check wrote no report", where=str(path), hint=tail(printed)) from error


def _run_kit(path: Path, out: Path, printed: Path, timeout_s: float, plugin_id: str) -> None:
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _KIT, str(path.absolute()), "--json", str(out)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=worker_environment(),
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise PluginError(
                plugin_id, f"the check did not end within {timeout_s:g} s", where=str(path), hint=tail(printed)
            ) from error
        finally:
            kill_session(process)
            process.wait()


def _info(plugin: Plugin, enabled: bool) -> PluginInfo:
    manifest = plugin.manifest
    return PluginInfo(
        plugin.id, manifest.kind, manifest.title, manifest.summary, manifest.version, plugin.origin,
        str(plugin.folder), enabled, _trouble(plugin) if enabled else "",
    )  # fmt: skip


def _trouble(plugin: Plugin) -> str:
    """Why an enabled plugin cannot be used; empty if it can."""
    if plugin.origin == "bundled" or plugin.manifest.kind != "method":
        return ""
    try:
        descriptions.describe(plugin)
    except PluginError as error:
        return str(error)
    return ""


def _unusable(error: PluginError) -> PluginInfo:
    return PluginInfo(error.plugin, "", "", "", "", None, error.where, False, str(error))
