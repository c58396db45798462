"""An example: a row as text, before it becomes tokens."""

from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]  # a turn as chat templates take it: role, content, and whatever else the row has


Span = tuple[int, int]


@dataclass(frozen=True)
class Segment:
    """A stretch of text; ``trained`` if its tokens carry loss.

    ``own`` are the spans (start, end) that a template wrote and not the row. Only there is the name of a control
    token, such as ``<|im_end|>``, that token; everywhere else it is plain text, so that a row cannot end a turn.
    """

    text: str
    trained: bool
    own: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Example:
    """A row as the model will see it.

    ``segments`` is plain text. Where the row is a conversation, ``messages`` has its turns, for models that
    bring a chat template; ``segments`` is then the layout for models without one.
    """

    segments: tuple[Segment, ...]
    label: int | None = None
    messages: tuple[Message, ...] = ()
