"""One row as text: what the model sees, and which part of it is learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.errors import UserError
from studio.core.problems import did_you_mean
from studio.datasets.chat import Message, read_messages
from studio.datasets.templates import as_text, template_for


@dataclass(frozen=True)
class Segment:
    """A stretch of text; ``trained`` if its tokens carry loss."""

    text: str
    trained: bool


@dataclass(frozen=True)
class Example:
    """A row as the model will see it.

    ``segments`` is plain text. Where the row is a conversation, ``messages`` has its turns, for models that
    bring a chat template; ``segments`` is then the layout for models without one.
    """

    segments: tuple[Segment, ...]
    label: int | None = None
    messages: tuple[Message, ...] = ()


def render_row(row: Mapping[str, Any], format: str, mapping: Mapping[str, str], labels: Sequence[str]) -> Example:
    """The example of one row; a UserError names the role whose value is missing or wrong."""
    match format:
        case "prompt-completion":
            return _prompt_completion(row, mapping)
        case "text":
            return Example((Segment(_needed(row, mapping, "text"), trained=True),))
        case "classification":
            return _classification(row, mapping, labels)
        case "alpaca":
            return _alpaca(row, mapping)
        case "sharegpt":
            return _conversation(row, mapping, "conversations")
        case "messages":
            return _conversation(row, mapping, "messages")
    raise UserError(f"unknown format {format!r}", where="data.format")


def _prompt_completion(row: Mapping[str, Any], mapping: Mapping[str, str]) -> Example:
    prompt = _needed(row, mapping, "prompt")
    completion = _needed(row, mapping, "completion")
    if not prompt[-1].isspace() and not completion[0].isspace():
        completion = f" {completion}"
    return Example((Segment(prompt, trained=False), Segment(completion, trained=True)))


def _classification(row: Mapping[str, Any], mapping: Mapping[str, str], labels: Sequence[str]) -> Example:
    segments = [Segment(_needed(row, mapping, "text"), trained=False)]
    if mapping.get("text_pair"):
        segments.append(Segment(_value(row, mapping, "text_pair"), trained=False))
    label = _needed(row, mapping, "label")
    if label not in labels:
        raise UserError(
            f"the label {label!r} is not one of the classes",
            where="data.columns.label",
            hint=did_you_mean(label, labels),
        )
    return Example(tuple(segments), list(labels).index(label))


def _alpaca(row: Mapping[str, Any], mapping: Mapping[str, str]) -> Example:
    instruction = _needed(row, mapping, "instruction")
    extra = _value(row, mapping, "input") if mapping.get("input") else ""
    output = _needed(row, mapping, "output")
    request = f"{instruction}\n\n{extra}" if extra else instruction
    plain = f"Instruction:\n{instruction}\n\n" + (f"Input:\n{extra}\n\n" if extra else "") + "Response:\n"
    messages: tuple[Message, ...] = (
        {"role": "user", "content": request},
        {"role": "assistant", "content": output},
    )
    return Example((Segment(plain, trained=False), Segment(output, trained=True)), messages=messages)


def _conversation(row: Mapping[str, Any], mapping: Mapping[str, str], role: str) -> Example:
    messages = read_messages(row.get(mapping.get(role, "")), where=f"data.columns.{role}")
    last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    messages = messages[: last + 1]  # what comes after the last answer teaches nothing
    segments: list[Segment] = []
    for message in messages:
        segments.append(Segment(f"{message['role'].capitalize()}:\n", trained=False))
        segments.append(Segment(as_text(message["content"]), trained=message["role"] == "assistant"))
        segments.append(Segment("\n\n", trained=False))
    return Example(tuple(segments[:-1]), messages=messages)


def _value(row: Mapping[str, Any], mapping: Mapping[str, str], role: str) -> str:
    value = mapping.get(role, "")
    try:
        return as_text(row[value]) if value in row else template_for(value, _Any()).render(row)
    except UserError as error:
        raise UserError(error.message, where=f"data.columns.{role}", hint=error.hint) from error
