"""model.json: what the library remembers about one model."""

import json
import os
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.core.errors import UserError
from studio.core.facts import ModelFacts

RECORD = "model.json"
MAX_NAME_CHARS = 80


class ModelEntry(BaseModel):
    """A model of the library. ``owned``: its files lie beside model.json, else ``facts.path`` is where they are.

    ``source`` is where it came from ("path:DIR", "gguf:FILE", "hub:ORG/NAME@COMMIT"); ``revision`` is the branch
    or tag that was asked for; ``warnings`` are what the user should know about it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    version: int = 1
    facts: ModelFacts
    source: str
    revision: str = ""
    owned: bool
    added: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    warnings: tuple[str, ...] = ()


def read_entry(folder: Path) -> ModelEntry:
    """The entry in ``folder``, with its facts' path as it is now; UserError if model.json is damaged."""
    file = folder / RECORD
    try:
        entry = ModelEntry.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(
            "the record of this model is missing or damaged",
            where=str(file),
            hint="remove the model and add it again",
        ) from error
    if not entry.owned:
        return entry
    return entry.model_copy(update={"facts": entry.facts.model_copy(update={"path": str(folder)})})


def write_entry(folder: Path, entry: ModelEntry) -> None:
    """Write model.json into ``folder`` so that a crash leaves no half of it."""
    record = entry.model_dump(mode="json")
    if entry.owned:
        record["facts"]["path"] = ""  # the folder itself, wherever the library is moved
    temporary = folder / f"{RECORD}.new"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(record, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / RECORD)


def checked_name(name: str) -> str:
    """The name without outer blanks; UserError if it is no single printable line or makes no folder name."""
    name = " ".join(name.split())
    if len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise UserError(
            f"{name[:MAX_NAME_CHARS]!r} is no usable name",
            where="name",
            hint=f"use letters and digits, at most {MAX_NAME_CHARS} characters",
        )
    slug_of(name)
    return name


def slug_of(name: str) -> str:
    """A folder name for ``name``: lower-case ASCII letters, digits, dots, dashes and underscores."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")
    if not slug:
        raise UserError(f"{name!r} is no usable name", where="name", hint="use letters and digits")
    return slug
