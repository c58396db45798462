"""What is known of a method's checks: from the table for ours, from the last check for those of others."""

import json
from pathlib import Path

import pytest

from studio.extensions.manifest import read_manifest
from studio.extensions.registry import Plugin, discover
from studio.service import check_reports
from studio.service.check_reports import CheckResult, Checks, Report, checks_of, keep_report, kept_report
from tests.helpers.plugins import write_plugin


def result(family: str, check: str, status: str = "passed") -> CheckResult:
    return CheckResult.model_validate({"family": family, "check": check, "status": status, "detail": "", "seconds": 0})


REPORT = Report(
    id="mine", version="1.0.0", passed=False, families=("llama", "bert"),
    results=(result("llama", "trains"), result("llama", "merges", "failed"), result("bert", "trains"),
             result("t5", "placement", "not applicable")),
)  # fmt: skip


@pytest.fixture
def mine(studio_home: Path) -> Plugin:
    folder = write_plugin(studio_home / "plugins", "mine")
    return Plugin(read_manifest(folder), folder, "home")


def test_that_a_report_is_kept_until_the_plugins_files_change(mine: Plugin) -> None:
    assert checks_of(mine) is None
    keep_report(mine, REPORT)
    assert kept_report(mine) == REPORT
    assert checks_of(mine) == Checks(families={"llama": ("trains",), "bert": ("trains",)}, failed=1)
    (mine.folder / "params.py").write_text("# another\n", encoding="utf-8")
    assert kept_report(mine) is None


def test_that_a_damaged_report_counts_as_none(mine: Plugin) -> None:
    keep_report(mine, REPORT)
    check_reports.report_file("mine").write_text("{", encoding="utf-8")
    assert checks_of(mine) is None


def test_that_ours_are_known_from_the_table_of_the_same_version(
    studio_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.json"
    families = {"llama": ["allocates", "trains"]}
    old = {"version": "0.0.1", "families": families}
    lora, full = (discover().get(name, "method") for name in ("lora", "full"))
    table.write_text(json.dumps({"lora": {"version": lora.manifest.version, "families": families}, "full": old}))
    monkeypatch.setattr(check_reports, "resource", lambda _: table)
    check_reports._table.cache_clear()
    assert checks_of(lora) == Checks(families={"llama": ("allocates", "trains")})
    assert checks_of(full) is None
    check_reports._table.cache_clear()
