"""Plugins are found where they lie, never run by being found, and used only when the user wants them."""

import sys
from pathlib import Path

import pytest

from studio.core.errors import UserError
from studio.extensions.choices import choices_file, choose, read_choices
from studio.extensions.registry import discover
from tests.helpers.plugins import write_plugin

BOMB = "raise SystemExit('imported')"


def announce(site: Path, name: str, value: str) -> None:
    """An installed distribution of that name with an entry point."""
    info = site / f"{name}-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
    (info / "entry_points.txt").write_text(f"[studio.plugins]\n{name} = {value}\n")


def test_that_a_plugin_found_in_the_home_waits_to_be_enabled(studio_home: Path) -> None:
    write_plugin(studio_home / "plugins", "mine", BOMB)
    registry = discover()
    assert "mine" not in registry.plugins
    assert registry.disabled["mine"].origin == "home"
    with pytest.raises(UserError, match="mine is disabled") as caught:
        registry.get("mine", "method")
    assert "plugin enable mine" in caught.value.hint
    choose("mine", True)
    assert discover().get("mine", "method").folder == studio_home / "plugins" / "mine"


def test_that_a_bundled_plugin_can_be_hidden_and_brought_back() -> None:
    choose("bitfit", False)
    assert "bitfit" in discover().disabled
    choose("bitfit", None)
    assert "bitfit" in discover().plugins


def test_that_a_bundled_id_cannot_be_shadowed(studio_home: Path) -> None:
    folder = write_plugin(studio_home / "plugins", "lora2", id="lora")
    registry = discover()
    assert registry.plugins["lora"].origin == "bundled"
    (error,) = registry.errors
    assert (error.plugin, error.where) == ("lora", str(folder))
    assert str(registry.plugins["lora"].folder) in error.message


def test_that_an_installed_package_announces_its_plugin_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_plugin(tmp_path / "bomb_package", "inner", BOMB)
    (tmp_path / "bomb_package/__init__.py").write_text(BOMB)
    (folder / "__init__.py").write_text(BOMB)
    announce(tmp_path, "bomb", "bomb_package.inner")
    monkeypatch.syspath_prepend(tmp_path)
    registry = discover()
    assert registry.errors == ()
    assert (registry.disabled["inner"].origin, registry.disabled["inner"].folder) == ("installed", folder)
    assert "bomb_package" not in sys.modules


@pytest.mark.parametrize("value", ["no_such_package", "json", "sys", "json.decoder:JSONDecoder"])
def test_that_an_empty_announcement_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    announce(tmp_path, "liar", value)
    monkeypatch.syspath_prepend(tmp_path)
    (error,) = discover().errors
    assert error.plugin == "liar"
    assert value in error.message


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"\xff\xfe", "is not TOML"),
        (b"a = " + b"[" * 30_000, "is not TOML"),
        (b"#" * 70_000, "longer than"),
        (b'id = "../../x"\nkind = "method"', "id: "),
        (b'[entry]\nparams = "../../x"', "entry.params"),
        (b"api = 99", "plugin.toml"),
    ],
)
def test_that_a_damaged_manifest_becomes_an_error_entry(studio_home: Path, manifest: bytes, message: str) -> None:
    write_plugin(studio_home / "plugins", "sound")
    (write_plugin(studio_home / "plugins", "odd") / "plugin.toml").write_bytes(manifest)
    registry = discover()
    (error,) = registry.errors
    assert error.plugin == "odd"
    assert message in error.message
    assert {"sound"} == set(registry.disabled)


def test_that_half_made_folders_are_no_plugins(studio_home: Path) -> None:
    write_plugin(studio_home / "plugins" / ".new-1", "mine")
    write_plugin(studio_home / "plugins", ".mine.replaced")
    registry = discover()
    assert not registry.disabled
    assert not registry.errors


def test_that_damaged_choices_turn_the_users_plugins_off_and_are_named(studio_home: Path) -> None:
    write_plugin(studio_home / "plugins", "mine")
    choose("mine", True)
    choices_file().write_text("[enabled")
    registry = discover()
    assert "mine" in registry.disabled
    assert "lora" in registry.plugins
    assert registry.errors[0].where == str(choices_file())
    with pytest.raises(UserError, match="cannot be read"):
        choose("mine", True)
    assert choices_file().read_text() == "[enabled"


def test_that_choices_are_kept_apart_by_id() -> None:
    choose("b", True)
    choose("a", False)
    choose("b", None)
    assert read_choices() == {"a": False}
    assert [path.name for path in choices_file().parent.iterdir()] == ["plugins.toml"]
