"""Rows from JSON lines and from JSON documents that hold a list of objects."""

import json
from collections.abc import Iterator
from typing import Any

from studio.core.errors import UserError
from studio.datasets.decoding import OpenFile

Row = dict[str, Any]


def _no_number(_constant: str) -> None:
    """NaN and the infinities, which JSON does not have, are missing values."""


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def read_json_lines(file: OpenFile) -> Iterator[Row]:
    """One object per line; blank lines are skipped."""
    for number, line in file.lines():
        if not line.isspace():
            yield _object_of_line(line.strip(), f"{file.name}:{number}")


def read_json(file: OpenFile) -> Iterator[Row]:
    """A list of objects, ``{"data": [...]}``, an object with one list in it, or JSON lines under this name."""
    text = file.text().rstrip()
    if not text:
        raise UserError("the file is empty", where=file.name, hint="choose a file with at least one row")
    if _is_json_lines(text):
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield _object_of_line(line.strip(), f"{file.name}:{number}")
        return
    for position, item in enumerate(_rows_of(_parse(text, file.name), file.name), start=1):
        if not isinstance(item, dict):
            raise UserError(
                f"item {position} of the list is {_kind(item)}, not an object",
                where=file.name,
                hint='every row must look like {"column": value, ...}',
            )
        yield item


def _is_json_lines(text: str) -> bool:
    first, newline, _rest = text.lstrip().partition("\n")
    if not newline or not first.lstrip().startswith("{"):
        return False
    try:
        return isinstance(_DECODER.decode(first.strip()), dict)
    except (ValueError, RecursionError):
        return False


def _object_of_line(line: str, where: str) -> Row:
    value = _parse(line, where, one_line=True)
    if isinstance(value, dict):
        return value
    raise UserError(
        f"the line is {_kind(value)}, not an object",
        where=where,
        hint='every line must look like {"column": value, ...}; name a JSON list .json',
    )


def _parse(text: str, where: str, *, one_line: bool = False) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = where if one_line else f"{where}:{error.lineno}"
        message = f"not valid JSON: {error.msg[0].lower()}{error.msg[1:]} at column {error.colno}"
        raise UserError(
            message, where=place, hint="correct the line, or write the file again with a JSON tool"
        ) from error
    except RecursionError as error:
        raise UserError("the JSON is nested too deeply", where=where, hint="flatten the rows") from error
    except ValueError as error:  # an integer of thousands of digits
        raise UserError(f"not valid JSON: {error}", where=where, hint="write long numbers as text") from error


def _rows_of(document: Any, name: str) -> list[Any]:
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        lists = {key: value for key, value in document.items() if isinstance(value, list)}
        if "data" in lists:
            return lists["data"]
        if len(lists) == 1 and all(isinstance(item, dict) for rows in lists.values() for item in rows):
            return next(iter(lists.values()))
    raise UserError(
        f"the file holds {_kind(document)}, not a list of rows",
        where=name,
        hint='write [{"column": value, ...}, ...] or {"data": [...]}',
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
