"""Which files of a folder or an archive are its data."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from studio.core.errors import UserError
from studio.datasets.saved import SPLITS, STATE, ReadNote, refuse_splits, without_caches
from studio.datasets.suffixes import SUPPORTED, TABLES, kind_of

_NOT_DATA = {"dataset_info.json", "dataset_infos.json", STATE, SPLITS, "thumbs.db"}  # the last is a file manager's


def choose_data(names: Iterable[str], read_note: ReadNote, where: str, holder: str) -> list[str]:
    """The data among these relative paths, in the order of their names; ``holder`` is what messages call the whole.

    Plain text counts only where there are no tables, so that a README beside them is no data.
    """
    seen = [name for name in names if not any(is_hidden(part) for part in PurePosixPath(name).parts)]
    refuse_splits(seen, read_note, where, holder)
    files = sorted((name for name in without_caches(seen, read_note, where) if _is_data(name)), key=_order)
    if not files:
        raise UserError(f"the {holder} holds no data files", where=where, hint=f"supported: {', '.join(SUPPORTED)}")
    return [name for name in files if kind_of(name) in TABLES] or files


def is_hidden(name: str) -> bool:
    """Whether a file manager hides a file or folder of this name, or ought to."""
    return name.startswith(".") or name == "__MACOSX"


def _is_data(name: str) -> bool:
    file = PurePosixPath(name).name
    return file.lower() not in _NOT_DATA and kind_of(file) in SUPPORTED


def _order(name: str) -> list[tuple[bool, str]]:
    """A folder's own files come before its folders."""
    *folders, file = PurePosixPath(name).parts
    return [*((True, folder) for folder in folders), (False, file)]
