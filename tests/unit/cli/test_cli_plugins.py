"""plugin check: each cause once, what passed only where it is asked for."""

from pathlib import Path

import pytest

from studio.service import plugins
from studio.service.check_reports import CheckResult, Report
from tests.unit.cli.conftest import Cli


def result(family: str, check: str, detail: str = "", status: str = "failed") -> CheckResult:
    return CheckResult.model_validate(
        {"family": family, "check": check, "status": status, "detail": detail, "seconds": 0.1}
    )


FAILED = [
    result("", "sources", "README.md lacks **Cost.**"),
    result("llama", "merge", "forward and merge disagree by 1.2e-03"),
    result("bert", "merge", "forward and merge disagree by 0.04"),
    result("bert", "files", "encoder.0.query: boom"),
    result("t5", "count", "block.1.SelfAttention: boom"),
]


def report(*results: CheckResult) -> Report:
    failed = any(r.status == "failed" for r in results)
    return Report(id="mine", version="1.0.0", passed=not failed, families=("llama",), results=results)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, cli: Cli, tmp_path: Path) -> Cli:
    """Run the command as if the kit had found these results."""

    def call(*results: CheckResult, options: tuple[str, ...] = ()) -> object:
        monkeypatch.setattr(plugins, "check", lambda path: report(*results))
        return cli("plugin", "check", tmp_path, *options)

    return call  # type: ignore[return-value]


def test_that_a_cause_is_told_once_with_where_it_was_found(answer: Cli) -> None:
    told = answer(result("llama", "count", status="passed"), *FAILED)
    assert told.code == 1
    lines = [" ".join(line.split()) for line in told.out.splitlines() if line.strip()]
    assert lines[2:] == [
        "sources README.md lacks **Cost.**",
        "merge on 2 families forward and merge disagree by 1.2e-03",
        "2 checks on 2 families encoder.0.query: boom",
        "mine 1.0.0 fails: 1 passed, 5 failed",
    ]


def test_that_a_sound_plugin_is_one_line_and_all_results_come_on_request(answer: Cli) -> None:
    sound = (result("llama", "count", status="passed"), result("bert", "placement", "nothing", "not applicable"))
    told = answer(*sound)
    assert (told.code, told.out) == (0, "mine 1.0.0 passes: 1 passed, 0 failed; works on llama\n")
    shown = answer(*sound, options=("--all",)).out
    assert ["bert", "placement", "not", "applicable", "nothing"] in [line.split() for line in shown.splitlines()]
    assert len(answer(*sound, options=("--json",)).json["results"]) == 2
