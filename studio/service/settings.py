"""Preferences, in one TOML file with a schema version; unknown keys are kept, damage is set aside."""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from studio.core.errors import MachineError, UserError
from studio.core.paths import home

SCHEMA = 1


class Settings(BaseModel):
    """What the user prefers; every field has a default.

    ``font_scale`` is the text size, 1.0 = normal; ``tariff_per_kwh`` is a price in ``currency``; ``grid`` is a region
    of the carbon table or grams of CO2 per kWh; ``device`` is "auto" or a device id; ``starter_wheels`` is a folder
    that replaces the package index.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    theme: Literal["system", "light", "dark"] = "system"
    font_scale: float = Field(default=1.0, ge=0.8, le=2.0, allow_inf_nan=False)
    tariff_per_kwh: float | None = Field(default=None, ge=0, le=1000, allow_inf_nan=False)
    currency: str = Field(default="EUR", min_length=1, max_length=8)
    grid: str | float | None = None
    device: str = Field(default="auto", min_length=1)
    hub_endpoint: str = ""
    confirm_close: bool = True
    last_screen: str = ""
    starter_wheels: str = ""

    @property
    def grid_g_per_kwh(self) -> float | None:
        """Grams of CO2 per kWh; None while the grid is not known."""
        return _intensity(self.grid)

    @field_validator("grid")
    @classmethod
    def _known_grid(cls, value: str | float | None) -> str | float | None:
        try:
            intensity = _intensity(value)
        except UserError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        if intensity is not None and not 0 <= intensity <= 10_000:
            raise ValueError("must be 0 to 10,000 g per kWh")
        return value


class LoadedSettings(BaseModel):
    """Settings with what had to be replaced by a default while reading them, in sentences."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    notices: tuple[str, ...] = ()


def load() -> Settings:
    """The user's settings, with defaults for whatever is missing or wrong."""
    return load_with_notices().settings


def load_with_notices() -> LoadedSettings:
    """The settings, and what was wrong with the file. A damaged file is moved aside, never overwritten."""
    path = home().settings
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return LoadedSettings(settings=Settings())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        kept = _set_aside(path)
        return LoadedSettings(
            settings=Settings(), notices=(f"settings.toml was damaged ({error}); it is kept as {kept.name}",)
        )
    except OSError as error:
        raise MachineError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return _validated({key: value for key, value in body.items() if key != "schema"})


def save(settings: Settings) -> None:
    """Write all settings at once; entries of a newer studio in the file are kept."""
    path = home().settings
    body = {"schema": SCHEMA, **settings.model_dump(mode="json", exclude_none=True)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            tomli_w.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise MachineError(
            f"the settings cannot be saved: {error.strerror or error}", where=str(path), hint="check the disk"
        ) from error


def change(**updates: Any) -> Settings:
    """Load, replace some fields, save; the new settings.

    Raises:
        pydantic.ValidationError: a value is out of range.
    """
    settings = Settings.model_validate({**load().model_dump(), **updates})
    save(settings)
    return settings


def _intensity(grid: str | float | None) -> float | None:
    if isinstance(grid, float) or not grid:
        return grid or None
    from studio.estimate.tables import grid_g_per_kwh  # the table is read only when a region is set

    return grid_g_per_kwh(grid)


def _validated(body: dict[str, Any]) -> LoadedSettings:
    try:
        return LoadedSettings(settings=Settings.model_validate(body))
    except ValidationError as error:
        wrong = {str(entry["loc"][0]): str(entry["msg"]) for entry in error.errors()}
        rest = {key: value for key, value in body.items() if key not in wrong}
        notices = tuple(f"settings.toml: {key} {message}; the default is used" for key, message in wrong.items())
        return LoadedSettings(settings=Settings.model_validate(rest), notices=notices)


def _set_aside(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"settings.damaged-{number}.toml")).exists():
        number += 1
    path.rename(kept)
    return kept
