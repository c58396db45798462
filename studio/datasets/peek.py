"""The first rows of a file, before it is read into the library: at once, however large the file is."""

import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.datasets.interpret import interpret
from studio.datasets.origin import name_of
from studio.datasets.profile import Profile
from studio.datasets.progress import Meter
from studio.datasets.readers import find_files, read_rows

FIRST_ROWS = 100


@dataclass(frozen=True)
class Peek:
    """``reason`` says why the rows are read in this ``format``; both are empty where none fits the first ones."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    format: str = ""
    reason: str = ""


def peek(path: Path) -> Peek:
    """The first rows at ``path`` and how they would be read; a UserError for what cannot be read at all."""
    path = path.expanduser().absolute()
    profile = Profile(sample_rows=FIRST_ROWS)
    with tempfile.TemporaryDirectory() as scratch:
        rows = read_rows(find_files(path), Meter("reading rows", 1, None, None), Path(scratch))
        for row in islice(rows, FIRST_ROWS):
            profile.add(row)
    found = Peek(name_of(path), tuple(profile.columns), tuple(profile.sample))
    try:
        detection = interpret(profile, "auto", None, path.name)
    except UserError:  # the import tells, once it has seen all rows
        return found
    return Peek(found.name, found.columns, found.rows, detection.format, detection.reason)
