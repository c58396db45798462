"""``python tests/plugins/conformance_page.py``: check every method on every family and write what holds where."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from studio.conformance.kit import Result, check_family, check_plugin  # noqa: E402
from studio.conformance.specimens import FAMILIES  # noqa: E402
from studio.extensions.bridge import BridgedMethod  # noqa: E402
from studio.extensions.loader import LoadedMethod  # noqa: E402
from studio.extensions.methods import load_here  # noqa: E402
from studio.extensions.registry import discover  # noqa: E402
from tests.helpers.bridged import PARAMS  # noqa: E402

Shipped = LoadedMethod | BridgedMethod

TABLE, PAGE = ROOT / "resources/tables/conformance.json", ROOT / "resources/help/conformance.md"
NAMES = {"llama": "Llama", "bert": "BERT", "t5": "T5", "vit": "ViT", "resnet": "ResNet"}
HEAD = """# What every method was checked for

Each method that comes with the studio is run through the conformance kit on tiny random models of five families: that
what it declares is what it allocates, trains and saves; that it starts as the base model and leaves it untouched; that
it merges, resumes, packs, pads and accumulates without changing an answer; and more. The same kit checks a plugin of
your own: `pet-studio plugin check FOLDER`.

The number says how many checks there were to pass; a dash, that the method finds nothing to train in that family or is
not meant for it. Two more checks, of the plugin's parameters and sources, are the same for every family.

"""


def shipped_methods() -> list[Shipped]:
    """Every method that comes with the studio, its own and peft's, by title."""
    return [load_here(plugin) for plugin in discover().of_kind("method") if plugin.origin in ("bundled", "peft")]


def check(method: Shipped, family: str) -> list[str]:
    """The names of the checks that the method passes on a family; AssertionError if it fails one."""
    results = list(check_family(method, family, params=PARAMS.get(method.id, {})))
    if any((result.check, result.status) == ("repeatability", "failed") for result in results):
        decide_in_exact_arithmetic(method.id, family)
        results = [replace(r, status="passed") if r.check == "repeatability" else r for r in results]
    return passed(results)


def decide_in_exact_arithmetic(method: str, family: str) -> None:
    """Check in a process of its own that a method repeats; AssertionError if it does not.

    On AMD processors MKL picks a way to multiply by where its operands lie in memory, unless it is told before it first
    does: two equal models then differ in the last bit, and a method seems to remember what it does not.
    """
    code = f"from tests.plugins.conformance_page import must_repeat; must_repeat({method!r}, {family!r})"
    settings = {**os.environ, "MKL_CBWR": "COMPATIBLE", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def must_repeat(method: str, family: str) -> None:
    """AssertionError unless the check of repeatability passes in this process."""
    shipped = next(found for found in shipped_methods() if found.id == method)
    assert passed(check_family(shipped, family, ["repeatability"], PARAMS.get(method, {}))) == ["repeatability"]


def check_itself(method: Shipped) -> list[str]:
    """The names of the checks that the plugin itself passes; AssertionError if it fails one."""
    return passed(check_plugin(method, params=PARAMS.get(method.id, {})))


def passed(results: Iterable[Result]) -> list[str]:
    """The names of the checks that passed; AssertionError if one failed."""
    found = list(results)
    failures = [f"{r.check}: {r.detail}" for r in found if r.status == "failed"]
    assert not failures, "; ".join(failures)
    return [r.check for r in found if r.status == "passed"]


def table_of(methods: Iterable[Shipped]) -> dict[str, Any]:
    """By method id: its version, and the checks it passes on each family."""
    return {
        method.id: {
            "version": method.plugin.manifest.version,
            "families": {family: names for family in FAMILIES if (names := check(method, family))},
        }
        for method in methods
    }


def page_of(table: dict[str, Any], titles: dict[str, str]) -> str:
    """The table as a help page."""
    lines = ["| Method | " + " | ".join(NAMES.values()) + " |", "| --- |" + " ---: |" * len(NAMES)]
    for method, entry in sorted(table.items(), key=lambda item: titles[item[0]].lower()):
        cells = [str(len(entry["families"].get(family, ())) or "–") for family in NAMES]
        lines.append(f"| {titles[method]} | " + " | ".join(cells) + " |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    import torch

    torch.set_num_threads(1)
    methods = shipped_methods()
    table = table_of(methods)
    lines = ",\n".join(f" {json.dumps(method)}: {json.dumps(entry)}" for method, entry in table.items())
    TABLE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    PAGE.write_text(page_of(table, {m.id: m.plugin.manifest.title for m in methods}), encoding="utf-8")


if __name__ == "__main__":
    main()
