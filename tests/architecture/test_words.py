"""No stub, no forgotten note and no machine's path in what ships."""

import re
from pathlib import Path

import pytest

from studio.core.paths import import_root

FOLDERS = ("studio", "plugins", "resources", "packaging", "tests")
TEXT = {".py", ".toml", ".md", ".json", ".svg", ".txt", ".sh", ".yaml"}
FORBIDDEN = re.compile("|".join(["NotImplemented" + "Error", r"\bTO" + r"DO\b", r"\bFIX" + "ME\b", "/wo" + "rk/ma"]))


def texts() -> list[Path]:
    root = import_root()
    found = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in TEXT]
    return [path for path in found if "__pycache__" not in path.parts]


def test_that_nothing_is_left_unfinished() -> None:
    hits = [
        f"{path}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert hits == []


@pytest.mark.parametrize("folder", ["studio", "plugins"])
def test_that_every_module_says_in_one_line_what_it_is(folder: str) -> None:
    bare = [
        path for path in (import_root() / folder).rglob("*.py")
        if not path.read_text(encoding="utf-8").startswith(('"""', "#!"))
    ]  # fmt: skip
    assert bare == []


def test_that_every_skipped_test_says_why() -> None:
    bare = re.compile(r"pytest\.mark\.skip(?!\w*\(.*reason|if\()|pytest\.skip\(\)")
    hits = [path for path in (import_root() / "tests").rglob("*.py") if bare.search(path.read_text(encoding="utf-8"))]
    assert [path for path in hits if path != Path(__file__)] == []


def test_that_every_picture_of_the_readme_is_there_and_every_screen_is_in_it() -> None:
    root = import_root()
    shown = set(re.findall(r"!\[[^]]*\]\((resources/[^)]+)\)", (root / "README.md").read_text(encoding="utf-8")))
    stored = {path.relative_to(root).as_posix() for path in (root / "resources/help/screens").glob("*.png")}
    assert shown == stored
