"""The tables about plugins of others: the plugins, and what a check found."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from studio.gui.models.records import Column

if TYPE_CHECKING:
    from studio.service.check_reports import CheckResult, Report
    from studio.service.plugins import PluginInfo

ORIGINS = {"home": "your folder", "installed": "pip", "bundled": "the studio", "peft": "peft"}


def others(plugins: "Iterable[PluginInfo]") -> "list[PluginInfo]":
    """The plugins of others, and those of the studio that are turned off."""
    return [info for info in plugins if info.origin not in ("bundled", "peft") or not info.enabled]


def state_word(info: "PluginInfo") -> str:
    return "Cannot be used" if info.error else "On" if info.enabled else "Off"


def plugin_columns() -> "tuple[Column[PluginInfo], ...]":
    return (
        Column("Plugin", lambda info: info.title or info.id),
        Column("Version", lambda info: info.version or "–"),
        Column("From", lambda info: ORIGINS.get(info.origin or "", "–")),
        Column("State", state_word),
    )


def result_columns() -> "tuple[Column[CheckResult], ...]":
    return (
        Column("Outcome", lambda result: result.status.capitalize()),
        Column("Model", lambda result: result.family),
        Column("Check", lambda result: result.check),
        Column("Detail", lambda result: result.detail),
    )


def worst_first(report: "Report") -> "list[CheckResult]":
    """What failed, what passed, what does not apply."""
    return sorted(report.results, key=lambda result: ("failed", "passed", "not applicable").index(result.status))


def report_words(report: "Report | None") -> str:
    """The outcome of a check in one sentence."""
    if report is None:
        return "Not checked as it is now."
    failed = sum(result.status == "failed" for result in report.results)
    passed = sum(result.status == "passed" for result in report.results)
    if report.passed:
        return f"Version {report.version} passes {passed} checks on {len(report.families)} models."
    if not failed:
        return "It finds nothing to train in any of the models."
    return f"Version {report.version} fails {failed} of {failed + passed} checks."
