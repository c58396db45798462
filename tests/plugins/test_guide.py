"""The guide's worked example, taken from the page as it stands, passes the kit and is as short as the guide says."""

import re
from pathlib import Path

from studio.conformance.kit import check_family
from studio.core.paths import resource
from studio.extensions.loader import load_method
from studio.extensions.manifest import read_manifest
from studio.extensions.registry import Plugin

README = "# Row and column scale\n\n**Equation.** W' = diag(a) W diag(b)\n\n**Cost.** d_out + d_in.\n\n**When not.** Never.\n"


def test_that_the_worked_example_works(tmp_path: Path) -> None:
    guide = resource("help/writing_methods.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:toml|python)\n(.*?)```", guide, flags=re.DOTALL)
    for name, text in zip(("plugin.toml", "params.py", "method.py"), blocks, strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "README.md").write_text(README)
    method = load_method(Plugin(read_manifest(tmp_path), tmp_path, "home"))
    for family in ("llama", "bert"):
        results = list(check_family(method, family))
        assert [(r.check, r.detail) for r in results if r.status == "failed"] == []
    lines = [line for text in blocks[1:] for line in text.splitlines() if line.strip()]
    assert len(lines) <= 40
