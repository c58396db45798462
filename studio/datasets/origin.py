"""Where a stored dataset came from, and whether that has changed since."""

import hashlib
from pathlib import Path

from studio.core.errors import UserError
from studio.datasets.names import MAX_NAME_CHARS, checked_name
from studio.datasets.readers import find_files
from studio.datasets.sqlite_rows import side_files
from studio.datasets.store import Origin
from studio.datasets.suffixes import SQLITE, kind_of


def origin_of(path: Path, table: str = "") -> Origin:
    """The file or folder with a signature that changes whenever one of its files is written."""
    digest = hashlib.sha256()
    for file in find_files(path):
        for part in (file, *(side_files(file) if kind_of(file.name) in SQLITE else ())):
            status = part.stat()
            digest.update(f"{part}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return Origin(path=str(path), signature=digest.hexdigest(), table=table)


def name_from(path: Path, table: str) -> str:
    """The name for a dataset that the user gave none."""
    try:
        return checked_name(name_of(path, table))
    except UserError as error:
        raise UserError(
            f"{path.name!r} makes no name for the library",
            where=path.name,
            hint="rename it in Latin letters, or give a name: pet-studio data add FILE --name NAME",
        ) from error


def name_of(path: Path, table: str = "") -> str:
    """The file's name without its suffixes, with the chosen table's behind it, as a dataset's name."""
    name = path.name.removesuffix(".gz")
    name = (Path(name).stem if not path.is_dir() else name) or "data"
    name = f"{name}-{table}" if table else name
    return "".join(char if char.isprintable() else " " for char in name)[:MAX_NAME_CHARS]
