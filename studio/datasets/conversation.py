"""Conversations in a row, as turns with a role and a content."""

from collections.abc import Mapping
from typing import Any

from studio.core.errors import UserError
from studio.core.problems import did_you_mean
from studio.datasets.example import Message

SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "developer": "developer",
}


def read_messages(value: Any, where: str) -> tuple[Message, ...]:
    """The turns up to the last answer of the assistant; what comes after it teaches nothing."""
    if not isinstance(value, list) or not value:
        raise UserError("the conversation is missing or empty", where=where, hint="every row needs a list of turns")
    messages = [_message(turn, number, where) for number, turn in enumerate(value, start=1)]
    answers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        raise UserError(
            "the conversation has no turn of the assistant to learn from",
            where=where,
            hint="rows need a turn with role assistant (sharegpt: from gpt)",
        )
    return tuple(messages[: answers[-1] + 1])


def _message(turn: Any, number: int, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise UserError(
            f"turn {number} is no object", where=where, hint='turns look like {"role": ..., "content": ...}'
        )
    speaker = turn.get("role", turn.get("from"))
    role = SPEAKERS.get(str(speaker).lower())
    if role is None:
        hint = did_you_mean(str(speaker), SPEAKERS)
        raise UserError(f"turn {number} has the unknown speaker {speaker!r}", where=where, hint=hint)
    others = {key: item for key, item in turn.items() if key not in ("role", "from", "content", "value")}
    return {"role": role, "content": _content(turn.get("content", turn.get("value")), number, where), **others}


def _content(value: Any, number: int, where: str) -> str:
    """A text, or the joined texts of a list of parts; nothing for a turn that only calls tools."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in value
    ):
        return "\n".join(part["text"] for part in value)
    raise UserError(
        f"turn {number} has a content that is no text", where=where, hint="only text can be learned, no images or audio"
    )
