"""What a file's name says about how to read it."""

from pathlib import PurePath

from studio.core.errors import UserError
from studio.datasets.decoding import refuse_pickle

ARROW = (".arrow", ".feather")
SQLITE = (".db", ".sqlite", ".sqlite3")
TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", *ARROW, *SQLITE)
TEXTS = (".txt", ".md")
SUPPORTED = (*TABLES, *TEXTS)
ARCHIVES = (".zip",)  # by itself only: in a folder it is often the packed copy of what lies beside it
OPENED = (".parquet", *ARROW, *SQLITE)  # by name, not as a stream

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
_HINTS = {
    ".xlsx": "save the sheet as CSV (UTF-8)",
    ".xls": "save the sheet as CSV (UTF-8)",
    ".ods": "save the sheet as CSV (UTF-8)",
    ".tar": "unpack it and add the folder or a file in it",
    ".7z": "unpack it and add the folder or a file in it",
    ".pdf": "save its text as .txt",
    ".docx": "save its text as .txt",
}


def kind_of(name: str) -> str:
    """The suffix that says how to read the file, without ``.gz``; empty if nothing can be packed so."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    if suffixes[-1:] == [".gz"]:
        inner = suffixes[-2] if len(suffixes) > 1 else ""
        return "" if inner in (*OPENED, *ARCHIVES) else inner
    return suffixes[-1] if suffixes else ""


def is_gzip(name: str) -> bool:
    return name.lower().endswith(".gz")


def check_suffix(name: str) -> None:
    """A UserError with what to do instead if no file of this name can be read."""
    suffix = PurePath(name).suffix.lower()
    if suffix in _PICKLES:
        raise refuse_pickle(name)
    if kind_of(name) in (*SUPPORTED, *ARCHIVES):
        return
    named = f"{suffix!r} files are" if suffix else "files without a suffix are"
    hint = (
        _HINTS.get(suffix)
        or _HINTS.get(kind_of(name))
        or f"supported: {', '.join((*SUPPORTED, *ARCHIVES))}, and .gz of the text ones"
    )
    raise UserError(f"{named} not supported as data", where=name, hint=hint)
