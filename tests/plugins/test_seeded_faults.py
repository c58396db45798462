"""Every fault that is planted in a sound plugin is caught by the check that is there for it."""

from pathlib import Path

import pytest

from studio.conformance.kit import check_method
from studio.extensions.loader import load_method
from studio.extensions.manifest import read_manifest
from studio.extensions.registry import Plugin

MANIFEST = """
id = "{id}"
kind = "method"
title = "Low rank"
summary = "A small low-rank method, sound until a fault is planted."
version = "1.0.0"
api = 1

[entry]
params = "params"
method = "method"
"""
PARAMS = '''
"""Two factors."""
import sys
from studio.api import ParamDecl, Params as BaseParams, Traits, fit_field, ui

class Params(BaseParams):
    """One size."""
    rank: int = ui(4, lo=1, hi=4096, label="Rank", help="Rank of the change.")

traits = Traits(kinds=("linear",), where="role in (q, v)", mergeable=True, learning_rate=1e-2, export="lora")

def declare(params, site):
    return (ParamDecl("A", (params.rank, site.d_in), init="kaiming"), ParamDecl("B", (site.d_out, params.rank)))

def fit(params, sites, budget):
    return fit_field(params, "rank", declare, sites, budget)
'''
METHOD = '''
"""y + B A x."""
import torch
from torch.nn.functional import linear

def forward(params, site, tensors, x, y, ctx):
    change = linear(linear(x, tensors["A"].to(x.dtype)), tensors["B"].to(x.dtype))
    return y + change

def merge(params, site, tensors, weight, bias):
    return weight + tensors["B"] @ tensors["A"], bias

def lora_factors(params, site, tensors):
    return tensors["A"], tensors["B"], 1.0
'''
README = "# Low rank\n\n**Equation.** y + B A x\n\n**Cost.** Little.\n\n**When not.** Never.\n"

BATCH_FUNCTION = """
class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2

"""

# what is planted: the file, the text it replaces, the text it becomes, and the check that must notice
FAULTS: dict[str, tuple[str, str, str, str]] = {
    "the base is changed behind the host's back": (
        "method", "    return y + change", "    ctx.weight().data.mul_(1.001)\n    return y + change", "learning"),
    "the input is changed for all who read it": (
        "method", "    return y + change", "    x.mul_(0.5)\n    return y + change", "learning"),
    "merging uses another scale": ("method", 'weight + tensors["B"]', 'weight + 2 * tensors["B"]', "merge"),
    "state is kept outside the declared tensors": (
        "method", "def merge", "_seen = []\n\ndef on_step(params, places, step):\n    _seen.append(1)\n"
        '    for place in places:\n        place.tensors["B"].mul_(1 + 0.1 * len(_seen))\n\ndef merge',
        "repeatability"),
    "the start is not the base": (
        "params", '(site.d_out, params.rank))', '(site.d_out, params.rank), init="normal:0.1")', "start"),
    "the count depends on who asks": (
        "params", "return (ParamDecl",
        'params = params if "torch" in sys.modules else params.model_copy(update={"rank": 1})\n'
        "    return (ParamDecl", "count"),
    "sequences see each other when packed": (
        "method", "    return y + change", "    return y + change + 0.1 * change.cumsum(1)", "sequences"),
    "rows of a batch see each other": (
        "method", "    return y + change", "    return y + change - change.mean(0, keepdim=True)", "sequences"),
    "a declared tensor is never used": (
        "params", "return (ParamDecl", 'return (ParamDecl("C", (3,)), ParamDecl', "learning"),
    "noise is drawn past the seed": (
        "method", "    return y + change",
        "    import time\n    noise = torch.Generator().manual_seed(time.time_ns())\n"
        "    return y + change * (1 + torch.rand(1, generator=noise))", "repeatability"),
    "a forward answers in fp32 whatever the model computes in": (
        "method", "    return y + change", "    return (y + change).float()", "precision"),
    "a fit exceeds its budget": (
        "params", 'return fit_field(params, "rank", declare, sites, budget)',
        'return params.model_copy(update={"rank": 99})', "budget"),
    "a fit leaves half of its budget unused": (
        "params", "declare, sites, budget)", "declare, sites, budget // 2)", "budget"),
    "unknown parameters are swallowed": (
        "params", '    """One size."""', '    """One size."""\n    model_config = {"extra": "ignore", "frozen": True}',
        "parameters"),
    "exported factors have another scale": ("method", 'tensors["B"], 1.0', 'tensors["B"], 2.0', "export"),
    "params.py needs torch": ("params", "import sys", "import sys\nimport torch", "sources"),
    "the studio's inside is imported": ("method", "import torch", "import torch\nimport studio.core.units", "sources"),
    "recomputing an activation counts twice": (
        "method", "    return y + change",
        '    ctx.memory["passes"] = ctx.memory.get("passes", 0) + 1\n    return y + change * ctx.memory["passes"]',
        "recomputing"),
    "a hand-written gradient is wrong": (
        "method", "def forward", BATCH_FUNCTION + "def forward", "own gradients"),
    "base tensors are trained though the traits deny it": (
        "params", "return (ParamDecl", 'return (ParamDecl("weight", site.shape, base="weight"), ParamDecl', "learning"),
    "what setup writes is saved nowhere": (
        "params", 'init="kaiming")', 'init="kaiming"), ParamDecl("S", (1,), role="seeded")', "files"),
}  # fmt: skip
ALSO: dict[str, tuple[str, str]] = {
    "a hand-written gradient is wrong": ("    return y + change", "    return y + Halved.apply(change)"),
    "what setup writes is saved nowhere": (
        "def forward(params, site, tensors, x, y, ctx):",
        'def setup(params, places, ctx):\n    for place in places:\n        place.tensors["S"].fill_(0.5)\n\n'
        'def forward(params, site, tensors, x, y, ctx):\n    x = x * (1 + tensors["S"].to(x.dtype))'),
}  # fmt: skip


def make_plugin(folder: Path, name: str, fault: str | None) -> Plugin:
    """The sound plugin, or the one with a fault planted."""
    texts = {"params": PARAMS, "method": METHOD}
    if fault is not None:
        file, old, new, _ = FAULTS[fault]
        assert texts[file].count(old) == 1
        texts[file] = texts[file].replace(old, new)
    if fault in ALSO:
        old, new = ALSO[fault]
        assert texts["method"].count(old) == 1
        texts["method"] = texts["method"].replace(old, new)
    folder = folder / name
    folder.mkdir()
    (folder / "plugin.toml").write_text(MANIFEST.format(id=name))
    (folder / "README.md").write_text(README)
    for file, text in texts.items():
        (folder / f"{file}.py").write_text(text)
    return Plugin(read_manifest(folder), folder, "home")


def test_that_the_sound_plugin_passes(tmp_path: Path) -> None:
    method = load_method(make_plugin(tmp_path, "sound", None))
    report = check_method(method, ["llama"])
    assert report.failures == []
    assert report.passed
    assert sum(r.status == "passed" for r in report.results) >= 16
    assert [r.check for r in report.results if not r.family] == ["parameters", "sources"]


@pytest.mark.parametrize("fault", FAULTS)
def test_that_the_kit_catches(fault: str, tmp_path: Path) -> None:
    method = load_method(make_plugin(tmp_path, f"faulty-{list(FAULTS).index(fault)}", fault))
    expected = FAULTS[fault][3]
    assert [r.check for r in check_method(method, ["llama"], [expected]).failures] == [expected]
