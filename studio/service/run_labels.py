"""What a person says about a run: name, notes, tags, star, trash; kept in the run folder and indexed."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from studio.catalog.connection import opened
from studio.catalog.records import put_labels
from studio.catalog.rows import Labels
from studio.core.errors import UserError
from studio.core.paths import home
from studio.rundir.layout import RunFolder, read_json, write_json
from studio.rundir.lock import one_at_a_time

LONGEST_TAG = 40
LONGEST_NAME = 120


def read_labels(folder: RunFolder) -> Labels:
    """The labels of a run; none yet if there is no file.

    Raises:
        UserError: the file is damaged.
    """
    if not folder.labels.exists():
        return Labels()
    try:
        return Labels.model_validate(read_json(folder.labels))
    except ValidationError as error:
        raise UserError(
            "holds something else than labels", where=str(folder.labels), hint="delete the file to clear them"
        ) from error


def edit_labels(run_id: str, change: Callable[[Labels], dict[str, Any]]) -> Labels:
    """Apply a change to a run's labels, in its folder first and then in the catalog; the new labels."""
    folder = RunFolder(home().runs / run_id)
    with one_at_a_time(folder.path / "labels.lock"):
        before = read_labels(folder)
        labels = before.model_copy(update=change(before))
        if labels != before:
            write_json(folder.labels, labels.model_dump(mode="json"))
            with opened(home().catalog):
                put_labels(run_id, labels, str(read_json(folder.spec).get("name") or run_id))
        return labels


def checked_tag(tag: str) -> str:
    """The tag without surrounding blanks; UserError if it is empty, too long or has a comma or control character."""
    cleaned = tag.strip()
    if not cleaned or len(cleaned) > LONGEST_TAG or "," in cleaned or not cleaned.isprintable():
        raise UserError(
            f"{tag!r} cannot be a tag", hint=f"use 1 to {LONGEST_TAG} characters without commas or line breaks"
        )
    return cleaned


def checked_name(name: str) -> str:
    """The name without surrounding blanks; UserError if it is empty or too long."""
    cleaned = name.strip()
    if not cleaned or len(cleaned) > LONGEST_NAME or not cleaned.isprintable():
        raise UserError(f"{name!r} cannot be a run's name", hint=f"use 1 to {LONGEST_NAME} characters on one line")
    return cleaned
