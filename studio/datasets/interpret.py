"""From the user's words (or none) to a format and a mapping."""

from collections.abc import Mapping

from studio.core.errors import UserError
from studio.core.problems import did_you_mean
from studio.datasets.detect import Detection, detect, detect_mapping
from studio.datasets.formats import FORMATS, infer_format
from studio.datasets.profile import Profile
from studio.datasets.store import StoredDataset

SUGGESTING_ROWS = 1000


def interpret(profile: Profile, format_: str, mapping: Mapping[str, str] | None, name: str) -> Detection:
    """How to read the rows: as the user says, and detected where the user leaves it open.

    ``name`` is what messages call their source.
    """
    if format_ != "auto" and format_ not in FORMATS:
        raise UserError(f"unknown format {format_!r}", where="data.format", hint=did_you_mean(format_, FORMATS))
    if mapping is not None:
        return Detection(_format_of(mapping, format_), dict(mapping), 1.0, "Chosen by the user.")
    if format_ == "auto":
        return detect(profile, name)
    found = detect_mapping(format_, profile)
    if found is None:
        raise UserError(
            f"none of the columns {', '.join(profile.columns)} fit the format {format_}",
            where="data.columns",
            hint=f"name the columns for its roles: {', '.join(FORMATS[format_].roles)}",
        )
    return Detection(format_, found, 1.0, "Format chosen by the user, columns found by their names.")


def suggest_mapping(stored: StoredDataset, format_: str) -> dict[str, str] | None:
    """The columns that would fit a format, judged by the first rows; None if none do."""
    if format_ == stored.facts.format:
        return dict(stored.facts.mapping)
    profile = Profile()
    for row in stored.rows(0, SUGGESTING_ROWS):
        profile.add(row)
    return detect_mapping(format_, profile) if format_ in FORMATS else None


def _format_of(mapping: Mapping[str, str], format_: str) -> str:
    chosen = infer_format(mapping) if format_ == "auto" else format_
    if chosen is None:
        raise UserError(
            f"the roles {', '.join(mapping) or '(none)'} fit no format",
            where="data.columns",
            hint="; ".join(f"{entry.name}: {', '.join(entry.roles)}" for entry in FORMATS.values()),
        )
    return chosen
