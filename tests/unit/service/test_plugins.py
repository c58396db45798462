"""Plugins as the window and the command line handle them, hostile ones among them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from studio.core.errors import Cancelled, PluginError, UserError
from studio.core.paths import import_root
from studio.extensions.choices import choose
from studio.extensions.isolated import close_helpers
from studio.service import plugins
from studio.service.check_reports import Checks
from studio.service.methods import get_method, list_methods
from studio.service.resolve import resolve
from tests.helpers.plugins import HOSTILE, SOUND, write_plugin

MARKER = """
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
"""
KIT = """
import json, sys, time
path, _, out = sys.argv[1:]
{body}
"""


@pytest.fixture(autouse=True)
def _no_helper_outlives_its_test() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    close_helpers()
    assert set(psutil.Process().children(recursive=True)) <= before


def infos() -> dict[str, plugins.PluginInfo]:
    return {info.id: info for info in plugins.list_plugins()}


def test_that_a_found_plugin_runs_only_once_it_is_enabled(studio_home: Path) -> None:
    folder = write_plugin(studio_home / "plugins", "mine", SOUND + MARKER)
    assert (infos()["mine"].origin, infos()["mine"].enabled, infos()["mine"].error) == ("home", False, "")
    assert "mine" not in {method.id for method in list_methods()}
    assert not (folder / "ran").exists()
    assert plugins.enable("mine").error == ""
    assert (folder / "ran").exists()
    assert get_method("mine").params_schema["properties"]["size"]["default"] == 2
    assert plugins.disable("mine").enabled is False
    assert "mine" not in {method.id for method in list_methods()}
    assert "studio_plugins.mine.params" not in sys.modules


def test_that_an_installed_plugin_works_at_once_and_a_removed_one_leaves_nothing(
    tmp_path: Path, studio_home: Path
) -> None:
    info = plugins.install(write_plugin(tmp_path, "mine", "print('hello')" + SOUND))
    assert (info.id, info.enabled, info.error) == ("mine", True, "")
    assert "hello" in plugins.log_of("mine")
    plugins.remove("mine")
    assert "mine" not in infos()
    assert plugins.log_of("mine") == ""
    assert not list(studio_home.rglob("*mine*"))


def test_that_a_broken_plugin_is_tried_again_when_it_is_enabled_again(tmp_path: Path) -> None:
    helper_file = tmp_path / "missing.txt"
    info = plugins.install(write_plugin(tmp_path, "mine", f"open({str(helper_file)!r})" + SOUND))
    assert "FileNotFoundError" in info.error
    helper_file.write_text("")
    assert "FileNotFoundError" in infos()["mine"].error
    assert plugins.enable("mine").error == ""
    assert infos()["mine"].error == ""


def test_that_a_new_plugin_is_there_and_enabled(tmp_path: Path, studio_home: Path) -> None:
    assert plugins.new("my-own") == studio_home / "plugins/my-own"
    assert infos()["my-own"].enabled
    assert infos()["my-own"].error == ""
    assert get_method("my-own").readme.startswith("# My own")
    assert plugins.new("other", out=tmp_path) == tmp_path / "other"
    assert "other" not in infos()
    for taken, out in (("my-own", None), ("lora", None), ("other", tmp_path)):
        with pytest.raises(UserError):
            plugins.new(taken, out=out)


def test_that_a_spec_with_a_third_party_method_is_resolved_through_its_helper(studio_home: Path) -> None:
    write_plugin(studio_home / "plugins", "mine")
    write_plugin(studio_home / "plugins", "broken", HOSTILE["raises"])
    for plugin_id in ("mine", "broken"):
        choose(plugin_id, True)
    placements = [{"use": "mine", "params": {"size": 99}}, {"use": "broken"}, {"use": "mine"}]
    problems = {p.where: p.message for p in resolve({"method": {"placements": placements}}).problems}
    assert "less than or equal to 9" in problems["method.placements.0.params.size"]
    assert "boom" in problems["method.placements.1.use"]
    assert not any(place.startswith("method.placements.2") for place in problems)


LIST_ALL = """
import json, resource, sys
import studio.cli.app
from studio.service.plugins import list_plugins
from studio.service.methods import list_methods, method_errors
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
listed = {info.id: info.error for info in list_plugins()}
methods = [method.id for method in list_methods()]
errors = sorted(error.plugin for error in method_errors())
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([listed, methods, errors, grown, sorted(sys.modules)]))
"""


def test_that_hostile_plugins_are_each_listed_with_an_error_and_harm_nothing(studio_home: Path) -> None:
    for plugin_id, params in HOSTILE.items():
        write_plugin(studio_home / "plugins", plugin_id, params)
        choose(plugin_id, True)
    write_plugin(studio_home / "plugins", "sound")
    choose("sound", True)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LIST_ALL], cwd=import_root(), capture_output=True, text=True, check=True, timeout=120
    )
    took = time.monotonic() - started
    listed, methods, errors, grown_kib, modules = json.loads(done.stdout)
    assert {plugin_id for plugin_id, error in listed.items() if error} == set(HOSTILE)
    assert all(f"plugin '{plugin_id}'" in listed[plugin_id] for plugin_id in HOSTILE)
    assert errors == sorted(HOSTILE)
    assert {"sound", "lora"} <= set(methods)
    assert done.stderr == ""
    assert not set(modules) & {"torch", "transformers", "peft", "PySide6"}
    assert not any(name.removeprefix("studio_plugins.").replace("_", "-") in HOSTILE for name in modules)
    assert took < 30  # two of them take the full ten seconds, side by side
    assert grown_kib < 100 * 1024
    logs = studio_home / "logs/plugins"
    assert sum(path.stat().st_size for path in logs.iterdir()) < 2 * len(HOSTILE) * 2**20


@pytest.fixture
def kit(tmp_path: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the conformance kit, whose body the test writes."""
    monkeypatch.setattr(plugins, "_KIT", "kit_of_a_test")
    monkeypatch.setattr(plugins, "worker_environment", lambda: {"PYTHONPATH": str(tmp_path)})
    return tmp_path / "kit_of_a_test.py"


def test_that_a_check_reads_the_kits_report(tmp_path: Path, kit: Path) -> None:
    result = {"family": "llama", "check": "merge", "status": "failed", "detail": "off by 1", "seconds": 0.5}
    report = {"id": "mine", "version": "1.0.0", "passed": False, "families": [], "results": [result]}
    kit.write_text(KIT.format(body=f"open(out, 'w').write({json.dumps(report)!r})\nsys.exit(1)"))
    folder = write_plugin(tmp_path, "mine")
    assert plugins.check(folder).model_dump(mode="json") == report
    refusal = {"error": {"message": "plugin 'mine': does not import", "where": "params.py", "hint": ""}}
    kit.write_text(KIT.format(body=f"open(out, 'w').write({json.dumps(refusal)!r})\nsys.exit(2)"))
    with pytest.raises(PluginError, match=r"^params\.py: plugin 'mine': does not import$"):
        plugins.check(folder)


def test_that_a_check_that_hangs_or_dies_is_told_with_its_last_words(tmp_path: Path, kit: Path) -> None:
    folder = write_plugin(tmp_path, "mine")
    kit.write_text(KIT.format(body="print('busy', flush=True)\ntime.sleep(60)"))
    with pytest.raises(PluginError, match="did not end within 1 s") as caught:
        plugins.check(folder, timeout_s=1.0)
    assert "busy" in caught.value.hint
    kit.write_text(KIT.format(body="raise RuntimeError('last words')"))
    with pytest.raises(PluginError, match="no report") as caught:
        plugins.check(folder)
    assert "last words" in caught.value.hint
    with pytest.raises(PluginError, match=r"no plugin\.toml"):
        plugins.check(tmp_path)


def test_that_a_check_that_is_given_up_leaves_no_process(tmp_path: Path, kit: Path) -> None:
    folder = write_plugin(tmp_path, "mine")
    kit.write_text(KIT.format(body="time.sleep(60)"))
    with pytest.raises(Cancelled):
        plugins.check(folder, cancelled=lambda: True)
    assert psutil.Process().children() == []


def test_that_the_report_of_a_check_is_kept_for_the_window(studio_home: Path, kit: Path) -> None:
    result = {"family": "llama", "check": "merges", "status": "passed", "detail": "", "seconds": 0.5}
    report = {"id": "mine", "version": "1.0.0", "passed": True, "families": ["llama"], "results": [result]}
    kit.write_text(KIT.format(body=f"open(out, 'w').write({json.dumps(report)!r})"))
    plugins.install(write_plugin(studio_home / "made", "mine"))
    plugins.check(plugins.folder_of("mine"))
    kept = plugins.report_of("mine")
    assert kept is not None
    assert kept.model_dump(mode="json") == report
    assert get_method("mine").checks == Checks(families={"llama": ("merges",)})
    plugins.remove("mine")
    assert not (studio_home / "cache" / "plugins" / "mine.report.json").exists()
