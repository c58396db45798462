"""Which files of a folder or an archive are its data."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from studio.core.errors import UserError
from studio.datasets.suffixes import SUPPORTED, TABLES, kind_of

_NOT_DATA = {
    "dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json",  # what HF datasets adds
    "thumbs.db",  # of a file manager
}  # fmt: skip


def choose_data(names: Iterable[str], where: str, holder: str) -> list[str]:
    """The data among these relative paths, in the order of their names; ``holder`` is what messages call the whole.

    Plain text counts only where there are no tables, so that a README beside them is no data.
    """
    files = sorted((name for name in names if _is_data(name)), key=_order)
    if not files:
        raise UserError(f"the {holder} holds no data files", where=where, hint=f"supported: {', '.join(SUPPORTED)}")
    return [name for name in files if kind_of(name) in TABLES] or files


def is_hidden(name: str) -> bool:
    """Whether a file manager hides a file or folder of this name, or ought to."""
    return name.startswith(".") or name == "__MACOSX"


def _is_data(name: str) -> bool:
    parts = PurePosixPath(name).parts
    if any(is_hidden(part) for part in parts) or parts[-1].lower() in _NOT_DATA:
        return False
    return kind_of(parts[-1]) in SUPPORTED


def _order(name: str) -> list[tuple[bool, str]]:
    """A folder's own files come before its folders."""
    *folders, file = PurePosixPath(name).parts
    return [*((True, folder) for folder in folders), (False, file)]
