"""Rows from comma, semicolon or tab separated files; every value stays text."""

import csv
from collections.abc import Iterator
from typing import Any

from studio.core.errors import UserError
from studio.datasets.decoding import MAX_LINE_BYTES, OpenFile


class _Lines:
    """Lines for the csv module, that know the number of the last one handed out."""

    def __init__(self, file: OpenFile) -> None:
        self._lines = file.lines()
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        return line


def read_csv(file: OpenFile, delimiter: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows under the header in the first line; the delimiter is guessed from the header if not given."""
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = _Lines(file)
    header_line = _first_line(lines, file.name)
    reader = csv.reader(_chain(header_line, lines), delimiter=delimiter or _delimiter(header_line), strict=True)
    records = _records(reader, lines, file.name)
    number, header = next(records)
    columns = _columns(header, f"{file.name}:{number}")
    for number, fields in records:
        if len(fields) != len(columns):
            raise UserError(
                f"the row has {len(fields)} fields, the header has {len(columns)}",
                where=f"{file.name}:{number}",
                hint='put fields that contain the separator or line breaks in quotes: "a, b"',
            )
        yield dict(zip(columns, fields, strict=True))


def _first_line(lines: _Lines, name: str) -> str:
    for line in lines:
        if line.strip():
            return line
    raise UserError("the file has no header line", where=name, hint="name the columns in the first line")


def _chain(first: str, lines: _Lines) -> Iterator[str]:
    yield first
    yield from lines


def _delimiter(header: str) -> str:
    return max(",;\t|", key=header.count)


def _records(reader: Any, lines: _Lines, name: str) -> Iterator[tuple[int, list[str]]]:
    """Non-empty records with the number of the line each starts in."""
    start = lines.number
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _csv_error(error, start, name) from error
        if fields:
            yield start, fields
        start = lines.number + 1


def _csv_error(error: csv.Error, start: int, name: str) -> UserError:
    if "new-line character" in str(error):
        return UserError(
            "a carriage return stands outside of quotes",
            where=f"{name}:{start}",
            hint="save the file with the line ends of Unix or Windows, and put fields with line breaks in quotes",
        )
    torn = "unexpected end of data" in str(error)
    message = "a quoted field starts in this row and never ends" if torn else f"not valid CSV: {error}"
    return UserError(
        message,
        where=f"{name}:{start}",
        hint='close the quote, and write a quote inside a quoted field twice: ""',
    )


def _columns(header: list[str], where: str) -> list[str]:
    columns = [column.strip() or f"column_{position}" for position, column in enumerate(header, start=1)]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise UserError(
            f"the header names {twice[0]!r} more than once",
            where=where,
            hint="give every column its own name",
        )
    return columns
