"""Which files make up a dataset, and the rows they hold."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.datasets.arrow_rows import read_arrow, read_parquet
from studio.datasets.csv_rows import read_csv
from studio.datasets.decoding import open_file, refuse_pickle
from studio.datasets.json_rows import read_json, read_json_lines
from studio.datasets.progress import Meter
from studio.datasets.text_rows import read_paragraphs

TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
TEXTS = (".txt", ".md")
SUPPORTED = (*TABLES, *TEXTS)

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
_UNPACKED = (".parquet", ".arrow", ".feather")
_NOT_DATA = {"dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"}  # what HF datasets adds
_HINTS = {
    ".xlsx": "save the sheet as CSV (UTF-8)",
    ".xls": "save the sheet as CSV (UTF-8)",
    ".ods": "save the sheet as CSV (UTF-8)",
    ".zip": "unpack it and add the folder or a file in it",
    ".tar": "unpack it and add the folder or a file in it",
    ".7z": "unpack it and add the folder or a file in it",
    ".pdf": "save its text as .txt",
    ".docx": "save its text as .txt",
}


def find_files(path: Path) -> list[Path]:
    """The data files at ``path``: itself, or those in the folder and below it, in the order of their names.

    Plain text in a folder counts only where there are no tables, so that a README beside them is no data.
    """
    if not path.exists():
        raise UserError("there is no such file or folder", where=str(path), hint="check the path")
    if not path.is_dir():
        _check_suffix(path)
        return [path]
    files = [file for file in _walk(path) if _kind(file) in SUPPORTED]
    tables = [file for file in files if _kind(file) in TABLES]
    if not files:
        raise UserError("the folder holds no data files", where=str(path), hint=f"supported: {', '.join(SUPPORTED)}")
    return tables or files


def read_rows(files: list[Path], meter: Meter) -> Iterator[dict[str, Any]]:
    """The rows of all files, one after the other; a UserError names file and line where one is wrong."""
    for path in files:
        yield from _read_one(path, meter)
        meter.finish_file(path.stat().st_size)


def _read_one(path: Path, meter: Meter) -> Iterator[dict[str, Any]]:
    kind = _kind(path)
    if path.stat().st_size == 0:
        raise UserError("the file is empty", where=path.name, hint="choose a file with at least one row")
    if kind == ".parquet":
        yield from read_parquet(path, meter)
        return
    if kind in (".arrow", ".feather"):
        yield from read_arrow(path, meter)
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
            if not name.startswith(".") and name not in _NOT_DATA:
                yield Path(root, name)


def _kind(path: Path) -> str:
    """The suffix that says how to read the file, without ``.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        inner = suffixes[-2] if len(suffixes) > 1 else ""
        return "" if inner in _UNPACKED else inner
    return suffixes[-1] if suffixes else ""


def _check_suffix(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise refuse_pickle(path.name)
    if _kind(path) in SUPPORTED:
        return
    named = f"{suffix!r} files are" if suffix else "files without a suffix are"
    hint = (
        _HINTS.get(suffix) or _HINTS.get(_kind(path)) or f"supported: {', '.join(SUPPORTED)}, and .gz of the text ones"
    )
    raise UserError(f"{named} not supported as data", where=path.name, hint=hint)
