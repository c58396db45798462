"""The dataset formats and the roles that columns play in each."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """``required`` and ``optional`` roles; ``structured`` roles take a column as it is, never a template."""

    name: str
    summary: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    structured: frozenset[str] = frozenset()

    @property
    def roles(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("alpaca", "instructions with answers", ("instruction", "output"), ("input",)),
        Format("sharegpt", "conversations of from/value turns", ("conversations",), (), frozenset({"conversations"})),
        Format("messages", "conversations of role/content turns", ("messages",), (), frozenset({"messages"})),
        Format("prompt-completion", "plain text and how it goes on", ("prompt", "completion")),
        Format("text", "plain text", ("text",)),
        Format("classification", "texts with a class", ("text", "label"), ("text_pair",), frozenset({"label"})),
    )
}


def infer_format(mapping: Mapping[str, str]) -> str | None:
    """The one format whose roles these are; None if they fit none."""
    for entry in FORMATS.values():
        if set(entry.required) <= set(mapping) <= set(entry.roles):
            return entry.name
    return None
