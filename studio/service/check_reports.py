"""What the conformance kit found: of our own methods from a table, of others as the last check left it."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import PluginError
from studio.core.paths import home, resource
from studio.extensions.descriptions import content_of
from studio.extensions.registry import OURS, Plugin

TABLE = "tables/conformance.json"


class CheckResult(BaseModel):
    """One check of the conformance kit on one model family, "" for the plugin itself."""

    model_config = ConfigDict(frozen=True)

    family: str
    check: str
    status: Literal["passed", "failed", "not applicable"]
    detail: str
    seconds: float


class Report(BaseModel):
    """What the conformance kit found; ``families``: those where the plugin works."""

    model_config = ConfigDict(frozen=True)

    id: str
    version: str
    passed: bool
    families: tuple[str, ...]
    results: tuple[CheckResult, ...]


class Checks(BaseModel):
    """The checks that a method passes, by model family, and how many it fails."""

    model_config = ConfigDict(frozen=True)

    families: dict[str, tuple[str, ...]]
    failed: int = 0


class _Kept(BaseModel):
    content: str
    report: Report


def checks_of(plugin: Plugin) -> Checks | None:
    """What is known of the plugin as it is now; None if it was not checked, or changed since."""
    if plugin.origin in OURS:
        entry = _table().get(plugin.id)
        current = entry and entry["version"] == plugin.manifest.version
        return Checks(families=entry["families"]) if entry and current else None
    report = kept_report(plugin)
    return None if report is None else _summary(report)


def keep_report(plugin: Plugin, report: Report) -> None:
    """Remember a report for as long as the plugin's files stay the same."""
    path = report_file(plugin.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(_Kept(content=content_of(plugin), report=report).model_dump_json(), encoding="utf-8")
    partial.replace(path)


def kept_report(plugin: Plugin) -> Report | None:
    """The report that was kept; None if there is none about these files."""
    try:
        kept = _Kept.model_validate_json(report_file(plugin.id).read_bytes())
        return kept.report if kept.content == content_of(plugin) else None
    except (FileNotFoundError, ValidationError, PluginError):
        return None


def report_file(plugin_id: str) -> Path:
    """Where the report of a plugin is kept."""
    return home().cache / "plugins" / f"{plugin_id}.report.json"


def _summary(report: Report) -> Checks:
    passed: dict[str, list[str]] = {}
    for result in report.results:
        if result.family and result.status == "passed":
            passed.setdefault(result.family, []).append(result.check)
    failed = sum(result.status == "failed" for result in report.results)
    return Checks(families={family: tuple(names) for family, names in passed.items()}, failed=failed)


@cache
def _table() -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(resource(TABLE).read_text(encoding="utf-8"))
    except FileNotFoundError:  # it is made by running the kit, which needs everything else first
        return {}
    return table
