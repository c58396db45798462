"""The guide's examples, taken from the page as they stand, pass the kit, and its tables are what the api is."""

import inspect
import re
from dataclasses import fields
from pathlib import Path

from studio.api import Traits, fit_field, ui
from studio.conformance.kit import check_method
from studio.core.paths import resource
from studio.extensions.loader import load_method
from studio.extensions.manifest import read_manifest
from studio.extensions.registry import Plugin

GUIDE = resource("help/writing_methods.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:toml|python|markdown)\n(.*?)```", GUIDE, flags=re.DOTALL)
MANIFEST, PARAMS, METHOD, README, SIZED_PARAMS, SIZED_METHOD = BLOCKS


def check(folder: Path, params: str, method: str, readme: str = README) -> None:
    texts = {"plugin.toml": MANIFEST, "params.py": params, "method.py": method, "README.md": readme}
    for name, text in texts.items():
        (folder / name).write_text(text)
    report = check_method(load_method(Plugin(read_manifest(folder), folder, "home")), ["llama", "bert"])
    assert [(r.check, r.detail) for r in report.failures] == []
    assert report.families == ["llama", "bert"]


def test_that_the_worked_example_works_and_is_as_short_as_the_guide_says(tmp_path: Path) -> None:
    check(tmp_path, PARAMS, METHOD)
    assert len([line for text in (PARAMS, METHOD) for line in text.splitlines() if line.strip()]) <= 40


def test_that_the_variant_with_a_size_works(tmp_path: Path) -> None:
    check(tmp_path, SIZED_PARAMS, SIZED_METHOD)


def test_that_the_table_of_traits_is_what_they_are() -> None:
    section = GUIDE.split("## Traits\n")[1].split("\n## ")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, flags=re.MULTILINE))
    assert shown == {field.name: repr(field.default).replace("'", '"') for field in fields(Traits)}


def test_that_every_argument_of_ui_and_fit_field_is_named() -> None:
    for function in (ui, fit_field):
        for name in inspect.signature(function).parameters:
            assert re.search(rf"\b{name}\b", GUIDE), name
