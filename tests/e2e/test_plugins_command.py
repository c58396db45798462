"""A plugin from the command line to a finished run: made, counted, trained in a real worker."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core.paths import import_root
from studio.extensions.isolated import close_helpers
from studio.service import plugins, runs
from studio.service.start_run import start_run
from tests.e2e.conftest import losses, wait_until_ended
from tests.helpers import tiny
from tests.helpers.plugins import SOUND, write_plugin


@pytest.fixture(autouse=True)
def _no_helper_outlives_its_test() -> Iterator[None]:
    yield
    close_helpers()


def studio(*arguments: object, code: int = 0) -> Any:
    """What ``pet-studio ARGUMENTS --json`` prints in a process of its own, or its complaint."""
    command = [sys.executable, "-m", "studio", *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=import_root(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr or json.loads(done.stdout)


def test_that_a_new_plugin_is_listed_counted_and_trained(
    tiny_llama: Path, questions: Path, studio_home: Path, tmp_path: Path
) -> None:
    made = studio("plugin", "new", "my-own", "--out", tmp_path)
    assert made["folder"] == str(tmp_path / "my-own")
    installed = studio("plugin", "install", made["folder"])
    assert (installed["enabled"], installed["error"]) == (True, "")
    (entry,) = [p for p in studio("plugin", "list")["plugins"] if p["id"] == "my-own"]
    assert {name: entry[name] for name in ("kind", "version", "origin", "enabled", "error")} == {
        "kind": "method", "version": "0.1.0", "origin": "home", "enabled": True, "error": "",
    }  # fmt: skip
    counted = studio("methods", "count", "--model", f"path:{tiny_llama}", "--method", "my-own", "--budget", 5000)
    assert 2500 < counted["trainable"] <= 5000

    spec = tiny.questions_spec(tiny_llama, questions)
    spec["method"]["placements"] = [{"use": "my-own", "params": counted["params"]}]
    run_id = start_run(spec)
    seen = losses(wait_until_ended(run_id))
    runs.refresh()
    shown = runs.show_run(run_id)
    assert shown["state"] == "completed"
    assert shown["plan"]["trainable"] == counted["trainable"]
    assert seen[8] < seen[1]

    studio("plugin", "disable", "my-own")
    assert "is disabled" in studio("methods", "show", "my-own", code=2)
    assert studio("plugin", "remove", "my-own", "--yes") == {"removed": "my-own"}
    assert "my-own" not in {p["id"] for p in studio("plugin", "list")["plugins"]}


@pytest.mark.parametrize("method", ["1 / 0", "import sys\nsys.exit(0)"])
def test_that_a_plugin_that_fails_in_the_worker_fails_its_run_by_name(
    tiny_llama: Path, questions: Path, tmp_path: Path, method: str
) -> None:
    assert plugins.install(write_plugin(tmp_path, "mine", SOUND, method=method)).error == ""
    spec = tiny.questions_spec(tiny_llama, questions)
    spec["method"]["placements"] = [{"use": "mine"}]
    run_id = start_run(spec)
    wait_until_ended(run_id)
    runs.refresh()
    shown = runs.show_run(run_id)
    assert shown["state"] == "failed"
    assert "plugin 'mine'" in str(shown["error"])


def test_that_a_new_plugin_passes_its_check_and_a_lying_one_does_not(tmp_path: Path) -> None:
    folder = Path(studio("plugin", "new", "my-own")["folder"])
    report = studio("plugin", "check", "my-own")
    assert report["passed"]
    assert {"llama", "bert"} <= set(report["families"])
    text = (folder / "method.py").read_text()
    (folder / "method.py").write_text(text.replace("weight + ", "weight + 2 * "))
    results = studio("plugin", "check", folder, code=1)["results"]
    assert "merge" in {result["check"] for result in results if result["status"] == "failed"}


def test_that_wrong_commands_say_what_to_do(tmp_path: Path) -> None:
    assert "did you mean 'lora'?" in studio("plugin", "enable", "loar", code=2)
    assert "plugin disable lora" in studio("plugin", "remove", "lora", "--yes", code=2)
    assert "is no plugin folder" in studio("plugin", "install", tmp_path / "nothing.zip", code=2)
    assert "is no plugin id" in studio("plugin", "new", "Not An Id", code=2)
    failing = write_plugin(tmp_path, "mine", "1 / 0")
    assert "ZeroDivisionError" in studio("plugin", "install", failing, code=1)
