"""Rows from plain text: one per paragraph."""

from collections.abc import Iterator
from typing import Any

from studio.datasets.decoding import OpenFile


def read_paragraphs(file: OpenFile) -> Iterator[dict[str, Any]]:
    """Paragraphs, which blank lines separate, as column ``text``; line breaks inside are kept."""
    paragraph: list[str] = []
    for _number, line in file.lines():
        if line.strip():
            paragraph.append(line.rstrip())
        elif paragraph:
            yield {"text": "\n".join(paragraph)}
            paragraph = []
    if paragraph:
        yield {"text": "\n".join(paragraph)}
