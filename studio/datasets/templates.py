"""Templates in braces: ``"Question: {question}"``; names of columns and nothing else."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from studio.core.errors import UserError
from studio.core.problems import did_you_mean


@dataclass(frozen=True)
class Template:
    """Literal texts and columns in turn; ``parts`` holds (literal, column after it or None)."""

    parts: tuple[tuple[str, str | None], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for _literal, column in self.parts if column is not None)

    def own_spans(self, row: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
        """Where the literal texts lie in what ``render`` makes of the row."""
        spans, at = [], 0
        for literal, column in self.parts:
            spans.append((at, at + len(literal)))
            at += len(literal) + (0 if column is None else len(as_text(row.get(column))))
        return tuple((start, end) for start, end in spans if end > start)

    def render(self, row: Mapping[str, Any]) -> str:
        """The text for one row; a missing value is empty."""
        return "".join(
            literal if column is None else literal + as_text(row.get(column)) for literal, column in self.parts
        )


@lru_cache(maxsize=256)
def parse_template(text: str) -> Template:
    """The template; ``{{`` and ``}}`` stand for braces."""
    parts: list[tuple[str, str | None]] = []
    literal = ""
    at = 0
    while at < len(text):
        if text[at : at + 2] in ("{{", "}}"):
            literal += text[at]
            at += 2
        elif text[at] == "{":
            end = text.find("}", at)
            column = text[at + 1 : end] if end > 0 else ""
            if not column.strip() or "{" in column:
                raise _broken(text, at)
            parts.append((literal, column))
            literal = ""
            at = end + 1
        elif text[at] == "}":
            raise _broken(text, at)
        else:
            literal += text[at]
            at += 1
    parts.append((literal, None))
    return Template(tuple(parts))


def template_for(value: str, columns: Collection[str]) -> Template:
    """What a mapping's value means: a column's name, or a template over columns."""
    if value in columns:
        return Template((("", value), ("", None)))
    template = parse_template(value)
    if not template.columns:
        raise UserError(f"{value!r} is neither a column nor a template", hint=did_you_mean(value, columns))
    for column in template.columns:
        if column not in columns:
            raise UserError(f"the template names the unknown column {column!r}", hint=did_you_mean(column, columns))
    return template


def as_text(value: Any) -> str:
    """A row's value as text: nothing for a missing one, true/false, JSON for lists and objects."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False)  # true and false, as JSON writes them


def _broken(text: str, at: int) -> UserError:
    return UserError(
        f"the template has a stray brace at position {at + 1}: {text!r}",
        hint="write columns as {name}, and a brace itself twice: {{ or }}",
    )
