"""Preferences survive rounds, damage and newer studios."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from studio.core.errors import MachineError
from studio.core.paths import home
from studio.service import settings
from studio.service.settings import Settings


def write(text: str) -> Path:
    home().root.mkdir(parents=True, exist_ok=True)
    home().settings.write_text(text, encoding="utf-8")
    return home().settings


def test_that_a_new_home_has_the_defaults_and_no_file() -> None:
    assert settings.load() == Settings()
    assert not home().settings.exists()


def test_that_everything_saved_is_loaded() -> None:
    wanted = Settings(
        theme="dark", tariff_per_kwh=0.3, currency="SEK", grid="SWE", device="cuda:0", hub_endpoint="https://hub",
        confirm_close=False, last_screen="runs", starter_wheels="/wheels",
    )  # fmt: skip
    settings.save(wanted)
    assert settings.load() == wanted
    assert tomllib.loads(home().settings.read_text())["schema"] == settings.SCHEMA
    assert [path.name for path in home().root.iterdir()] == ["settings.toml"]


def test_that_one_field_changes_without_the_others() -> None:
    settings.save(Settings(theme="dark"))
    assert settings.change(currency="USD").theme == "dark"
    assert settings.load().currency == "USD"
    with pytest.raises(ValidationError):
        settings.change(theme="pink")


def test_that_entries_of_a_newer_studio_are_kept() -> None:
    write('schema = 9\ntheme = "light"\nfuture = "yes"\n[nested]\nx = 1\n')
    settings.save(settings.load().model_copy(update={"theme": "dark"}))
    stored = tomllib.loads(home().settings.read_text())
    assert (stored["theme"], stored["future"], stored["nested"]) == ("dark", "yes", {"x": 1})


def test_that_a_wrong_value_becomes_the_default_and_a_notice() -> None:
    write('theme = "pink"\ntariff_per_kwh = -1\ncurrency = "USD"\ngrid = "Narnia"\n')
    loaded = settings.load_with_notices()
    assert loaded.settings == Settings(currency="USD")
    assert len(loaded.notices) == 3
    assert "theme" in loaded.notices[0]


@pytest.mark.parametrize("content", [b"theme = ", b"\xff\xfe\x00", b"= 1"])
def test_that_a_damaged_file_is_kept_aside(content: bytes) -> None:
    path = write("")
    path.write_bytes(content)
    loaded = settings.load_with_notices()
    assert loaded.settings == Settings()
    assert "settings.damaged-1.toml" in loaded.notices[0]
    assert path.with_name("settings.damaged-1.toml").read_bytes() == content
    path.write_bytes(content)
    assert "settings.damaged-2.toml" in settings.load_with_notices().notices[0]


def test_that_a_place_that_cannot_be_written_is_a_message() -> None:
    home().root.parent.mkdir(parents=True, exist_ok=True)
    home().root.write_text("a file where the folder should be")
    with pytest.raises(MachineError, match="cannot be saved"):
        settings.save(Settings())


@pytest.mark.parametrize(
    ("text", "grams"), [("grid = 380\n", 380.0), ("grid = 41.5\n", 41.5), ('grid = "World"\n', 480.0), ("", None)]
)
def test_that_the_grid_is_grams_per_kwh(text: str, grams: float | None) -> None:
    write(text)
    assert settings.load().grid_g_per_kwh == grams
