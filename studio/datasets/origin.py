"""Where a stored dataset came from, and whether that has changed since."""

import hashlib
from pathlib import Path

from studio.datasets.readers import find_files
from studio.datasets.store import Origin


def origin_of(path: Path) -> Origin:
    """The file or folder with a signature that changes whenever one of its files is written."""
    digest = hashlib.sha256()
    for file in find_files(path):
        status = file.stat()
        digest.update(f"{file}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return Origin(path=str(path), signature=digest.hexdigest())


def name_of(path: Path) -> str:
    """The file's name without its suffixes, as a dataset's name."""
    name = path.name.removesuffix(".gz")
    return (Path(name).stem if not path.is_dir() else name) or "data"
