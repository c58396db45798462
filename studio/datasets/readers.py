"""Which files make up a dataset, and the rows they hold."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.datasets.arrow_rows import read_arrow, read_parquet
from studio.datasets.choice import choose_data, is_hidden
from studio.datasets.csv_rows import read_csv
from studio.datasets.decoding import OpenFile, decoded, open_bytes, open_file
from studio.datasets.json_rows import read_json, read_json_lines
from studio.datasets.progress import Gauge, Meter, Part
from studio.datasets.saved import MAX_NOTE_BYTES
from studio.datasets.sqlite_rows import read_sqlite
from studio.datasets.suffixes import ARCHIVES, ARROW, OPENED, SQLITE, check_suffix, kind_of
from studio.datasets.text_rows import read_paragraphs
from studio.datasets.zip_files import Member, check_sizes, open_archive


def find_files(path: Path) -> list[Path]:
    """The data files at ``path``: itself, or those in the folder and below it, in the order of their names."""
    if not path.exists():
        raise UserError("there is no such file or folder", where=str(path), hint="check the path")
    if not path.is_dir():
        check_suffix(path.name)
        return [_checked(path)]
    names = [file.relative_to(path).as_posix() for file in _walk(path)]
    chosen = choose_data(names, lambda name: _read_note(path / name), str(path), "folder")
    return [_checked(path / name) for name in chosen]


def read_rows(files: list[Path], meter: Meter, scratch: Path, table: str = "") -> Iterator[dict[str, Any]]:
    """The rows of all files, one after the other; a UserError names file and line where one is wrong.

    What an archive holds is unpacked in ``scratch`` where it must be, one file at a time. ``table`` says which one
    of a SQLite database with several.
    """
    for path in files:
        if kind_of(path.name) in ARCHIVES:
            yield from _read_archive(path, meter, scratch, table)
        else:
            _check_table(table, [file.name for file in files], files[0].name)
            yield from _read_one(path, meter, table)
        meter.finish_file(path.stat().st_size)


def _read_one(path: Path, meter: Meter, table: str) -> Iterator[dict[str, Any]]:
    if path.stat().st_size == 0:
        raise UserError("the file is empty", where=path.name, hint="choose a file with at least one row")
    if kind_of(path.name) in OPENED:
        yield from _read_opened(path, path.name, meter, table)
    else:
        with open_file(path, meter) as file:
            yield from _read_text(file)


def _read_archive(path: Path, meter: Meter, scratch: Path, table: str) -> Iterator[dict[str, Any]]:
    with open_archive(path) as members:
        nested = [name for name in members if kind_of(name) in ARCHIVES and not _is_below_hidden(name)]
        if nested:
            raise UserError(
                f"the archive holds another one, {nested[0]!r}",
                where=path.name,
                hint="unpack the outer one and add the inner ones",
            )
        names = choose_data(members, lambda name: members[name].head(MAX_NOTE_BYTES), path.name, "archive")
        _check_table(table, names, path.name)
        check_sizes(path, [members[name] for name in names])
        done_bytes = 0
        for name in names:
            info = members[name].info
            part = Part(meter, done_bytes, info.compress_size, info.file_size)
            yield from _read_member(members[name], part, scratch, table)
            done_bytes += info.compress_size


def _read_member(member: Member, part: Part, scratch: Path, table: str) -> Iterator[dict[str, Any]]:
    if member.info.file_size == 0:
        raise UserError("the file is empty", where=member.name, hint="leave it out of the archive")
    if kind_of(member.name) in OPENED:
        with member.unpacked(scratch, part) as path:
            yield from _read_opened(path, member.name, part, table)
    else:
        with member.open(part) as stream, decoded(stream, member.name, member.limit_bytes) as file:
            yield from _read_text(file)


def _read_opened(path: Path, name: str, gauge: Gauge, table: str) -> Iterator[dict[str, Any]]:
    kind = kind_of(name)
    if kind in SQLITE:
        return read_sqlite(path, name, gauge, table)
    return read_arrow(path, name, gauge) if kind in ARROW else read_parquet(path, name, gauge)


def _read_text(file: OpenFile) -> Iterator[dict[str, Any]]:
    match kind_of(file.name):
        case ".jsonl" | ".ndjson":
            return read_json_lines(file)
        case ".json":
            return read_json(file)
        case ".csv":
            return read_csv(file)
        case ".tsv":
            return read_csv(file, "\t")
    return read_paragraphs(file)


def _check_table(table: str, names: list[str], where: str) -> None:
    if table and not any(kind_of(name) in SQLITE for name in names):
        raise UserError(
            f"there is no SQLite database to take table {table!r} from",
            where=where,
            hint="leave the table out: other files hold only one",
        )


def _checked(path: Path) -> Path:
    if not path.exists():
        raise UserError("there is no such file: a link leads nowhere", where=str(path), hint="remove the link")
    if not path.is_file():
        raise UserError("this is no ordinary file", where=str(path), hint="write the rows to a file and add that")
    return path


def _read_note(path: Path) -> bytes:
    with open_bytes(_checked(path)) as file:
        return file.read(MAX_NOTE_BYTES)


def _is_below_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/"))


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(files):
            yield Path(root, name)


def _refuse(error: OSError) -> None:
    raise UserError(
        f"the folder cannot be read: {(error.strerror or str(error)).lower()}",
        where=str(error.filename),
        hint="check its permissions",
    ) from error
