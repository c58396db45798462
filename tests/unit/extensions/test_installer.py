"""What is installed is data, inside its folder, whole or not at all."""

import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.core.errors import PluginError, StudioError, UserError
from studio.extensions import installer, unpacking
from studio.extensions.registry import discover
from studio.extensions.scaffold import scaffold
from tests.helpers.plugins import SOUND, write_plugin


def zipped(folder: Path, path: Path, below: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            archive.write(file, Path(below) / file.relative_to(folder))
    return path


def with_entry(tmp_path: Path, name: str, body: bytes = b"x", mode: int = stat.S_IFREG | 0o644) -> Path:
    """A sound plugin's archive with one more entry."""
    path = zipped(write_plugin(tmp_path / "source", "mine"), tmp_path / "mine.zip")
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, body)
    return path


def home_of_plugins(studio_home: Path) -> list[str]:
    return sorted(path.name for path in (studio_home / "plugins").glob("*"))


def test_that_a_folder_is_copied_and_enabled(tmp_path: Path, studio_home: Path) -> None:
    folder = write_plugin(tmp_path, "mine")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").write_bytes(b"x")
    plugin = installer.install(folder)
    assert plugin.folder == studio_home / "plugins/mine"
    assert plugin == discover().plugins["mine"]
    assert sorted(path.name for path in plugin.folder.iterdir()) == ["params.py", "plugin.toml"]
    assert (plugin.folder / "params.py").read_text() == SOUND


@pytest.mark.parametrize("below", ["", "mine", "deep/er"])
def test_that_a_zip_is_unpacked_wherever_the_plugin_lies_in_it(tmp_path: Path, below: str) -> None:
    archive = zipped(write_plugin(tmp_path / "source", "mine"), tmp_path / "a.zip", below)
    assert (installer.install(archive).folder / "params.py").read_text() == SOUND


def test_that_a_wheel_is_unpacked_as_data_if_its_requirements_are_there(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_plugin(source, "mine")
    info = source / "mine-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: mine\nRequires-Dist: pydantic>=2\nRequires-Dist: nothing; extra == 'x'\n")
    assert installer.install(zipped(source, tmp_path / "mine-1.0.0-py3-none-any.whl")).id == "mine"
    (info / "METADATA").write_text("Name: mine\nRequires-Dist: no-such-thing (>=2)\n")
    with pytest.raises(UserError, match="needs no-such-thing"):
        installer.install(zipped(source, tmp_path / "mine.whl"), replace=True)


@pytest.mark.parametrize(
    "name", ["../evil.py", "/evil.py", "a/../../evil.py", "..\\evil.py", "C:evil.py", "a\nb.py", "..", "plugin.toml/x"]
)
def test_that_a_path_that_leaves_the_plugin_is_refused(tmp_path: Path, studio_home: Path, name: str) -> None:
    with pytest.raises(UserError):
        installer.install(with_entry(tmp_path, name))
    assert home_of_plugins(studio_home) == []
    assert not list(tmp_path.rglob("evil.py"))


def test_that_links_are_refused(tmp_path: Path, studio_home: Path) -> None:
    with pytest.raises(UserError, match="is a link"):
        installer.install(with_entry(tmp_path, "link", b"/etc/passwd", stat.S_IFLNK | 0o777))
    folder = write_plugin(tmp_path, "other")
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="is a link"):
        installer.install(folder)
    assert home_of_plugins(studio_home) == []


def test_that_a_file_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = with_entry(tmp_path, "params.py")
    with pytest.raises(UserError, match="twice"):
        installer.install(archive)


def test_that_an_archive_that_would_fill_the_disk_is_refused(
    tmp_path: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 100_000)
    archive = with_entry(tmp_path, "bomb.bin", bytes(200_000))
    with pytest.raises(UserError, match="a plugin may have"):
        installer.install(archive)
    raw = bytearray(archive.read_bytes())
    for place in range(len(raw)):  # lie about the size, as a bomb does
        if raw[place : place + 4] == (200_000).to_bytes(4, "little"):
            raw[place : place + 4] = (20).to_bytes(4, "little")
    archive.write_bytes(raw)
    with pytest.raises(UserError, match="cannot be read"):
        installer.install(archive)
    assert home_of_plugins(studio_home) == []


@pytest.mark.parametrize("name", ["nothing.zip", "text.zip", "text.txt", "folder"])
def test_that_what_is_no_plugin_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.zip").write_text("text")
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "folder/plugin").mkdir(parents=True)
    with pytest.raises(UserError):
        installer.install(tmp_path / name)


def test_that_an_archive_holds_exactly_one_plugin_with_a_sound_manifest(tmp_path: Path) -> None:
    write_plugin(tmp_path / "two", "one")
    write_plugin(tmp_path / "two", "other")
    with pytest.raises(UserError, match="several plugins: one, other"):
        installer.install(zipped(tmp_path / "two", tmp_path / "two.zip"))
    with pytest.raises(PluginError, match="version"):
        installer.install(write_plugin(tmp_path, "mine", version="newest"))


def test_that_taken_ids_are_refused_unless_replaced(tmp_path: Path) -> None:
    installer.install(write_plugin(tmp_path / "1", "mine"))
    newer = write_plugin(tmp_path / "2", "mine", version="2.0.0")
    with pytest.raises(UserError, match="already"):
        installer.install(newer)
    assert installer.install(newer, replace=True).manifest.version == "2.0.0"
    with pytest.raises(UserError, match="bundled"):
        installer.install(write_plugin(tmp_path / "3", "lora"), replace=True)


def test_that_the_old_version_stays_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer.install(write_plugin(tmp_path / "1", "mine"))
    rename: Callable[..., Path] = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target.name == "mine" and self.name == "unpacked":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space"):
        installer.install(write_plugin(tmp_path / "2", "mine", version="2.0.0"), replace=True)
    assert discover().plugins["mine"].manifest.version == "1.0.0"
    assert home_of_plugins(studio_home) == ["mine"]


def test_that_a_replacement_cut_off_between_its_renames_loses_nothing(tmp_path: Path, studio_home: Path) -> None:
    installer.install(write_plugin(tmp_path / "1", "mine"))
    os.rename(studio_home / "plugins/mine", studio_home / "plugins/.mine.replaced")
    installer.put(write_plugin(tmp_path / "2", "mine", version="2.0.0"), "mine")
    assert home_of_plugins(studio_home) == ["mine"]
    assert discover().plugins["mine"].manifest.version == "2.0.0"


def test_that_removing_takes_only_what_lies_in_the_home(tmp_path: Path, studio_home: Path) -> None:
    installer.install(write_plugin(tmp_path / "1", "mine"))
    (studio_home / "plugins/broken").mkdir()
    (studio_home / "plugins/linked").symlink_to(write_plugin(tmp_path, "linked"))
    for name in ("mine", "broken", "linked"):
        installer.remove(name)
    assert home_of_plugins(studio_home) == []
    assert (tmp_path / "linked/plugin.toml").exists()
    for name in ("lora", "nothing", "..", "../runs"):
        with pytest.raises(UserError):
            installer.remove(name)
    write_plugin(studio_home / "plugins", "mine")
    assert "mine" in discover().disabled  # the removed one's choice does not enable the next of that name


def test_that_a_new_plugin_is_the_template_under_its_name(tmp_path: Path) -> None:
    scaffold("two-words", "method", tmp_path / "new")
    plugin = installer.install(tmp_path / "new")
    assert (plugin.id, plugin.manifest.title) == ("two-words", "Two words")
    texts = [path.read_text() for path in plugin.folder.iterdir()]
    assert len(texts) == 4
    assert not any("my" in text.lower().split() or "my_method" in text or "my-method" in text for text in texts)
    assert "studio_plugins.two_words.params" in (plugin.folder / "method.py").read_text()


@pytest.mark.parametrize(("plugin_id", "kind"), [("Upper", "method"), ("a", "method"), ("../x", "method"), ("ok", "x")])
def test_that_a_new_plugin_needs_an_id_and_a_known_kind(tmp_path: Path, plugin_id: str, kind: str) -> None:
    with pytest.raises(StudioError):
        scaffold(plugin_id, kind, tmp_path / "new")
    assert not (tmp_path / "new").exists()
