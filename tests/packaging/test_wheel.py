"""The studio finds its plugins and resources in a checkout, an installed wheel and a frozen program."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from studio.core import paths
from studio.extensions.bridge import bridged

FIND = """
from studio.core.paths import bundled_plugins, resource
from studio.extensions.registry import discover
print(bundled_plugins().name, len(discover().plugins), resource("themes/dark.toml").is_file())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."]
    subprocess.run(command, cwd=paths.import_root(), check=True, timeout=300)
    return next(folder.glob("pet_studio-*.whl"))


def test_that_every_package_is_listed_for_the_wheel() -> None:
    root = paths.import_root()
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(p.parent.relative_to(root).parts) for p in (root / "studio").rglob("__init__.py")}
    assert set(listed) - {"studio_plugins", "studio_resources"} == found


def test_that_a_wheel_holds_all_and_finds_it(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    assert not list(tmp_path.rglob("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-P", "-c", FIND], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    name, plugins, themed = done.stdout.split()
    assert (name, themed) == ("studio_plugins", "True")
    assert int(plugins) == len(list(paths.bundled_plugins().glob("*/plugin.toml"))) + len(bridged())


def test_that_a_frozen_program_looks_in_its_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "studio_resources").mkdir()
    (tmp_path / "studio_resources" / "x.txt").write_text("")
    (tmp_path / "studio_plugins").mkdir()
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    assert paths.resource("x.txt") == tmp_path / "studio_resources" / "x.txt"
    assert paths.bundled_plugins() == tmp_path / "studio_plugins"
    with pytest.raises(FileNotFoundError, match=r"no\.svg"):
        paths.resource("no.svg")


def test_that_the_checkout_finds_its_own_folders() -> None:
    assert paths.bundled_plugins() == paths.import_root() / "plugins"
