"""What HF datasets notes beside the data it saves: the splits, and which Arrow files are the data."""

import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from studio.core.errors import UserError
from studio.core.units import MIB
from studio.datasets.suffixes import ARROW, kind_of

STATE = "state.json"
SPLITS = "dataset_dict.json"
MAX_NOTE_BYTES = MIB

_SHOWN = 12

ReadNote = Callable[[str], bytes]  # at least the first MAX_NOTE_BYTES of the file of that name


def refuse_splits(names: list[str], read_note: ReadNote, where: str, holder: str) -> None:
    """A UserError if several splits were saved here: to mix them would train on what should test."""
    notes = _notes(names, SPLITS)
    folders = {folder for name in names for folder in PurePosixPath(name).parents} if notes else set()
    for note in notes:
        noted = _parsed(read_note(note), note, where)
        splits = noted.get("splits") if isinstance(noted, dict) else None
        below = PurePosixPath(note).parent
        named = [split for split in splits if isinstance(split, str)] if isinstance(splits, list) else []
        present = [split for split in named if below / split in folders]
        if len(present) > 1:
            first = (PurePosixPath(where if holder == "folder" else "FOLDER") / below / present[0]).as_posix()
            raise UserError(
                f"the {holder} holds {len(present)} splits: {', '.join(map(repr, present[:_SHOWN]))}",
                where=where,
                hint=f"{'' if holder == 'folder' else 'unpack it and '}add one of them: pet-studio data add {first}",
            )


def without_caches(names: list[str], read_note: ReadNote, where: str) -> list[str]:
    """The names without Arrow files that were not saved but left there, such as caches of earlier work."""
    arrows: dict[PurePosixPath, set[str]] = {}
    for name in names:
        if kind_of(name) in ARROW:
            arrows.setdefault(PurePosixPath(name).parent, set()).add(name)
    left: set[str] = set()
    for note in _notes(names, STATE):
        folder = PurePosixPath(note).parent
        beside = arrows.get(folder)
        listed = _listed(_parsed(read_note(note), note, where), note, where) if beside else None
        if beside is None or listed is None:
            continue
        saved = {(folder / name).as_posix() for name in listed}
        missing = sorted(saved - beside)
        if missing:
            raise UserError(
                f"{missing[0]!r} is missing, which {STATE} lists", where=where, hint="copy or save the folder again"
            )
        left |= beside - saved
    return [name for name in names if name not in left]


def _notes(names: list[str], note: str) -> list[str]:
    return [name for name in names if PurePosixPath(name).name == note]


def _listed(state: Any, note: str, where: str) -> list[str] | None:
    """The names of the Arrow files that are the data; None if the note is of something else."""
    if not isinstance(state, dict) or "_data_files" not in state:
        return None
    if state.get("_indices_data_files"):
        raise UserError(
            "the saved dataset is a selection of rows that lies in another file",
            where=f"{where}: {note}",
            hint="call flatten_indices() on it and save it again",
        )
    files = state["_data_files"]
    names = [file.get("filename") for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    texts = [name for name in names if isinstance(name, str)]
    if not texts or len(texts) < len(names):
        raise _damaged(note, where)
    return texts


def _parsed(content: bytes, note: str, where: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(note, where) from error


def _damaged(note: str, where: str) -> UserError:
    return UserError(
        "the note on the saved data is damaged",
        where=f"{where}: {note}",
        hint="save the data again; if the note is of something else, move it away",
    )
