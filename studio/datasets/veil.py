"""Names of control tokens in a conversation's own words, kept apart from those that the chat template writes."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from studio.datasets.example import Message, Segment, Span

_RARE = range(0xE000, 0x110000)  # private use first


class ControlNames:
    """Finds the names of control tokens in text."""

    def __init__(self, names: Collection[str]) -> None:
        longest_first = sorted(filter(None, names), key=len, reverse=True)
        self.firsts = sorted({name[0] for name in longest_first})
        self._longest = len(longest_first[0]) if longest_first else 0
        self._starts = {name[:length] for name in longest_first for length in range(1, len(name))}
        whole = "|".join(map(re.escape, longest_first))
        # the look ahead lets the search skip all text without one of these characters
        self._whole = re.compile(f"(?=[{re.escape(''.join(self.firsts))}])(?:{whole})") if longest_first else None

    def find(self, text: str) -> list[int]:
        """Where a name begins, or at the end of the text a part of one, of which a template may write the rest."""
        if self._whole is None:
            return []
        found = [match.start() for match in self._whole.finditer(text)]
        end = len(text.rstrip())
        return [*found, *(at for at in range(max(0, end - self._longest), end) if text[at:end] in self._starts)]


class Veil:
    """A conversation in which the names of control tokens are disguised while a template renders it.

    The first character of each name becomes one that occurs nowhere else. It is as long as what it stands for,
    so places in the rendered text stay the same.
    """

    def __init__(self, names: ControlNames, messages: Sequence[Message], source: str) -> None:
        self._names = names
        self._masks: dict[str, str] = {}
        self.messages: list[Message] = list(messages)
        strings = _strings(messages)
        if any(names.find(text) for text in strings):
            free = _unused(source, *strings)
            self._masks = {first: next(free) for first in names.firsts}
            self.messages = [_map_strings(message, self._hide) for message in messages]

    def lift(self, segment: Segment) -> Segment:
        """The rendered segment with its true characters; what was disguised is not its ``own``."""
        faces = {mask: first for first, mask in self._masks.items()}
        hidden = [at for at, char in enumerate(segment.text) if char in faces] if faces else []
        true_text = segment.text.translate({ord(mask): first for mask, first in faces.items()})
        return Segment(true_text, segment.trained, _between(hidden, len(true_text)))

    def _hide(self, text: str) -> str:
        chars = list(text)
        for at in self._names.find(text):
            chars[at] = self._masks[text[at]]
        return "".join(chars)


def _between(hidden: Sequence[int], length: int) -> tuple[Span, ...]:
    edges = [-1, *hidden, length]
    return tuple((a + 1, b) for a, b in pairwise(edges) if b > a + 1)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for part in pair for text in _strings(part)]
    return [text for part in value for text in _strings(part)] if isinstance(value, list | tuple) else []


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_map_strings(key, change): _map_strings(item, change) for key, item in value.items()}
    return [_map_strings(part, change) for part in value] if isinstance(value, list | tuple) else value


def _unused(*texts: str) -> Iterator[str]:
    """Characters that none of the texts has."""
    taken = set().union(*texts)
    return (chr(code) for code in _RARE if chr(code) not in taken)
