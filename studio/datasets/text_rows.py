"""Rows from plain text: one per paragraph."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

from studio.core.errors import UserError
from studio.core.units import format_bytes
from studio.datasets.decoding import MAX_LINE_BYTES, OpenFile


def read_paragraphs(file: OpenFile) -> Iterator[dict[str, Any]]:
    """Paragraphs, which blank lines separate, as column ``text``; line breaks inside are kept."""
    paragraph = StringIO()
    for number, line in file.lines():
        if line.strip():
            paragraph.write(line.rstrip() + "\n")
            _check_length(paragraph, f"{file.name}:{number}")
        elif paragraph.tell():
            yield {"text": paragraph.getvalue()[:-1]}
            paragraph = StringIO()
    if paragraph.tell():
        yield {"text": paragraph.getvalue()[:-1]}


def _check_length(paragraph: StringIO, where: str) -> None:
    if paragraph.tell() > MAX_LINE_BYTES:
        raise UserError(
            f"the paragraph is longer than {format_bytes(MAX_LINE_BYTES)}",
            where=where,
            hint="put a blank line between the texts",
        )
