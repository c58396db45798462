"""One thing wrong with a spec or a file: where, how bad, what, and what to do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

LONGEST_QUOTE = 60
_SUBJECT = re.compile(r"^\w+ should ")  # "Input should be ..."

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """A finding at one place of the user's input."""

    where: str
    message: str
    hint: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        advice = f" ({self.hint})" if self.hint else ""
        return f"{self.where}: {self.message}{advice}"


def did_you_mean(word: str, known: Iterable[str], *, listing: int = 12) -> str:
    """A hint naming the closest known words, else the known words themselves."""
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(sorted(names)[:listing])
    more = ", …" if len(names) > listing else ""
    return f"known: {shown}{more}" if names else ""


def plain_reason(message: str) -> str:
    """A message of pydantic in our words: "Input should be ..." becomes "must be ..."."""
    reason = _SUBJECT.sub("must ", message.removeprefix("Value error, "))
    return reason[:1].lower() + reason[1:]


def short(given: object) -> str:
    """What was given, as a message quotes it."""
    text = repr(given)
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"
