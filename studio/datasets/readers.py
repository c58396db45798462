"""Which files make up a dataset, and the rows they hold."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.datasets.arrow_rows import read_arrow, read_parquet
from studio.datasets.csv_rows import read_csv
from studio.datasets.decoding import open_file
from studio.datasets.json_rows import read_json, read_json_lines
from studio.datasets.progress import Meter
from studio.datasets.sqlite_rows import read_sqlite
from studio.datasets.suffixes import ARROW, SQLITE, SUPPORTED, TABLES, check_suffix, kind_of
from studio.datasets.text_rows import read_paragraphs

_NOT_DATA = {"dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"}  # what HF datasets adds
_THUMBNAILS = "thumbs.db"  # of a file manager


def find_files(path: Path) -> list[Path]:
    """The data files at ``path``: itself, or those in the folder and below it, in the order of their names.

    Plain text in a folder counts only where there are no tables, so that a README beside them is no data.
    """
    if not path.exists():
        raise UserError("there is no such file or folder", where=str(path), hint="check the path")
    if not path.is_dir():
        check_suffix(path.name)
        return [path]
    files = [file for file in _walk(path) if kind_of(file.name) in SUPPORTED]
    tables = [file for file in files if kind_of(file.name) in TABLES]
    if not files:
        raise UserError("the folder holds no data files", where=str(path), hint=f"supported: {', '.join(SUPPORTED)}")
    return tables or files


def read_rows(files: list[Path], meter: Meter, table: str = "") -> Iterator[dict[str, Any]]:
    """The rows of all files, one after the other; a UserError names file and line where one is wrong.

    ``table`` says which one of a SQLite database with several.
    """
    if table and not any(kind_of(path.name) in SQLITE for path in files):
        raise UserError(
            f"there is no SQLite database to take table {table!r} from",
            where=files[0].name,
            hint="leave the table out: other files hold only one",
        )
    for path in files:
        yield from _read_one(path, meter, table)
        meter.finish_file(path.stat().st_size)


def _read_one(path: Path, meter: Meter, table: str) -> Iterator[dict[str, Any]]:
    kind = kind_of(path.name)
    if path.stat().st_size == 0:
        raise UserError("the file is empty", where=path.name, hint="choose a file with at least one row")
    if kind == ".parquet":
        yield from read_parquet(path, meter)
        return
    if kind in ARROW:
        yield from read_arrow(path, meter)
        return
    if kind in SQLITE:
        yield from read_sqlite(path, path.name, meter, table)
        return
    with open_file(path, meter) as file:
        match kind:
            case ".jsonl" | ".ndjson":
                yield from read_json_lines(file)
            case ".json":
                yield from read_json(file)
            case ".csv":
                yield from read_csv(file)
            case ".tsv":
                yield from read_csv(file, "\t")
            case _:
                yield from read_paragraphs(file)


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name not in _NOT_DATA and name.lower() != _THUMBNAILS:
                yield Path(root, name)
