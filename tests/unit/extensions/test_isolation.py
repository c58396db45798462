"""Whatever a third-party plugin does, the asker gets an answer or an error that names it, and lives."""

import re
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest
from pydantic import TypeAdapter

from studio.api import Site
from studio.core.errors import PluginError
from studio.extensions import descriptions
from studio.extensions.isolated import IsolatedMethod, close_helpers, isolate
from studio.extensions.isolation import Helper, log_file
from studio.extensions.manifest import read_manifest
from studio.extensions.registry import Plugin
from tests.helpers.plugins import HOSTILE, SOUND, write_plugin

SITES = [Site("layers.0.q", "linear", "q", 0, 8, 6, (6, 8), False), Site("n", "norm", "norm", None, 4, 4, (4,), False)]
PATIENCE_S = 3.0


@pytest.fixture(autouse=True)
def _no_helper_outlives_its_test() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    close_helpers()
    assert set(psutil.Process().children(recursive=True)) <= before


def plugin_of(root: Path, params: str, plugin_id: str = "odd") -> Plugin:
    folder = write_plugin(root, plugin_id, params)
    return Plugin(read_manifest(folder), folder, "home")


def method_of(root: Path, params: str = SOUND) -> IsolatedMethod:
    return isolate(plugin_of(root, params))


def test_that_a_sound_plugin_is_described_parsed_counted_and_fitted_in_its_helper(tmp_path: Path) -> None:
    method = method_of(tmp_path)
    assert method.params_schema()["properties"]["size"]["maximum"] == 9
    assert (method.id, method.traits.where, method.can_fit) == ("odd", "role in (q, v)", True)
    params, problems = method.parse({"size": 3}, "here")
    assert params is not None
    assert (params.model_dump(mode="json"), problems) == ({"size": 3}, [])
    declared = method.declare(params, SITES)
    assert [(decl.name, decl.shape) for decl in declared["layers.0.q"]] == [("a", (3, 8))]
    assert declared["n"][0].count == 12
    assert method.fit(params, SITES, 50).model_dump() == {"size": 4}
    assert method.extra_tokens(params) == 0
    with pytest.raises(ValueError, match="size 1 already has 12"):
        method.fit(params, SITES, 11)
    assert not any("studio_plugins.odd" in name for name in sys.modules)


def test_that_wrong_parameters_are_all_named_with_a_remedy(tmp_path: Path) -> None:
    params, problems = method_of(tmp_path).parse({"size": 10, "sise": 1}, "method.placements.0.params")
    assert params is None
    assert [problem.where.rpartition(".")[2] for problem in problems] == ["size", "sise"]
    assert "'size'" in problems[1].hint
    _, problems = method_of(tmp_path / "2").parse({"size": date(2026, 1, 2)}, "params")  # as YAML reads 2026-01-02
    assert "2026-01-02" in problems[0].message


def test_that_the_helper_stays_warm_until_the_plugin_changes(tmp_path: Path) -> None:
    method = method_of(tmp_path)
    params, _ = method.parse({}, "")
    assert params is not None
    started = time.perf_counter()
    for _ in range(20):
        method.declare(params, SITES)
    assert time.perf_counter() - started < 1
    assert isolate(method.plugin).helper is method.helper
    (method.plugin.folder / "params.py").write_text(SOUND.replace("ui(2", "ui(5"))
    fresh = isolate(method.plugin)
    assert fresh.helper is not method.helper
    assert fresh.parse({}, "")[0].model_dump() == {"size": 5}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "RuntimeError: boom"),
        ("shouts", "boom"),
        ("hangs", "did not answer within"),
        ("ends", "exit code 7"),
        ("leaves", "SystemExit"),
        ("imports-torch", "may not import torch"),
        ("clears", "odd"),
        ("floods", "prints more than 1 MiB"),
        ("floods-stderr", "prints more than 1 MiB"),
        ("garbles", "garbled answer"),
        ("forks", "odd"),
        ("bloats", "MemoryError"),
        ("lacks-traits", "lacks 'traits'"),
        ("lies", "answers describe wrongly: traits.kinds.0"),
        ("overlong", "more than 16 MiB"),
    ],
)
def test_that_a_hostile_plugin_becomes_an_error_with_its_name_and_log(tmp_path: Path, name: str, message: str) -> None:
    plugin = plugin_of(tmp_path, HOSTILE[name])
    started = time.monotonic()
    with pytest.raises(PluginError, match=message) as caught:
        descriptions.describe(plugin, PATIENCE_S)
    assert time.monotonic() - started < 3 * PATIENCE_S
    assert caught.value.plugin == "odd"
    assert len(caught.value.message) < 600
    assert str(log_file("odd")) in caught.value.hint
    started = time.monotonic()
    with pytest.raises(PluginError, match=message):
        descriptions.describe(plugin, PATIENCE_S)  # from the cache
    assert time.monotonic() - started < 0.1


def test_that_the_log_has_what_was_printed_and_where_it_went_wrong(tmp_path: Path) -> None:
    plugin = plugin_of(tmp_path, "print('hello')\nwhile True:\n    pass")
    with pytest.raises(PluginError, match="did not answer within 1 s"):
        descriptions.describe(plugin, 1.0)
    assert "hello" in log_file("odd").read_text()
    assert re.search(r'params\.py", line [23] in <module>', log_file("odd").read_text())
    (plugin.folder / "params.py").write_text("1 / 0")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        descriptions.describe(plugin)
    assert "ZeroDivisionError: division by zero" in log_file("odd").read_text()


def test_that_an_error_is_forgotten_when_the_files_change_or_the_user_asks(tmp_path: Path) -> None:
    plugin = plugin_of(tmp_path, "import json, nowhere")
    for _ in range(2):
        with pytest.raises(PluginError, match="nowhere"):
            descriptions.describe(plugin)
    assert log_file("odd").read_text().count("Traceback") == log_file("odd").read_text().count("No module named")
    descriptions.forget("odd")
    with pytest.raises(PluginError, match="nowhere"):
        descriptions.describe(plugin)
    (plugin.folder / "params.py").write_text(SOUND)
    assert descriptions.describe(plugin).can_fit


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        ("raise RuntimeError('boom')", "declare fails: RuntimeError: boom"),
        ("return [1]", "declare"),
        ("return [ParamDecl('a', ('x',))]", "answers declare wrongly"),
        ("return [ParamDecl('a', (2,), role='king')]", "answers declare wrongly"),
        ("import sys; sys.exit(3)", "SystemExit"),
    ],
)
def test_that_a_plugin_that_declares_nonsense_is_named(tmp_path: Path, declare: str, message: str) -> None:
    source = SOUND.replace('return (ParamDecl("a", (params.size, site.d_in)),)', declare)
    method = method_of(tmp_path, source)
    params, _ = method.parse({}, "")
    assert params is not None
    for _ in range(2):
        with pytest.raises(PluginError, match=message) as caught:
            method.declare(params, SITES)
        assert caught.value.plugin == "odd"


def test_that_a_plugin_that_hung_once_is_not_waited_for_again(tmp_path: Path) -> None:
    helper = Helper(plugin_of(tmp_path, SOUND.replace("least = sum", "while True: pass\n    least = sum")), 1.0)
    assert helper.ask(TypeAdapter(dict), "parse", params={}, where="")["params"] == {"size": 2}
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(PluginError, match="did not answer within 1 s"):
            helper.ask(TypeAdapter(dict), "fit", params={}, sites=[], budget=1)
    assert time.monotonic() - started < 4


def test_that_the_helper_knows_no_secrets_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(PluginError) as caught:
        descriptions.describe(plugin_of(tmp_path, "import os\nraise RuntimeError(sorted(os.environ))"))
    assert "PATH" in caught.value.message
    assert "HF_TOKEN" not in caught.value.message
