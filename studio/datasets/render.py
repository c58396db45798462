"""One row as text: what the model sees, and which part of it is learned."""

from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.errors import UserError
from studio.core.problems import did_you_mean
from studio.datasets.conversation import read_messages
from studio.datasets.example import Example, Message, Segment
from studio.datasets.templates import Template, parse_template


def render_row(row: Mapping[str, Any], format: str, mapping: Mapping[str, str], labels: Sequence[str]) -> Example:
    """The example of one row; a UserError names the role whose value is missing or wrong."""
    match format:
        case "prompt-completion":
            return _prompt_completion(row, mapping)
        case "text":
            return Example((_segment(row, mapping, "text", trained=True),))
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
    prompt = _segment(row, mapping, "prompt", trained=False)
    completion = _segment(row, mapping, "completion", trained=True)
    if not prompt.text[-1].isspace() and not completion.text[0].isspace():
        shifted = tuple((start + 1, end + 1) for start, end in completion.own)
        completion = Segment(f" {completion.text}", trained=True, own=shifted)
    return Example((prompt, completion))


def _segment(row: Mapping[str, Any], mapping: Mapping[str, str], role: str, *, trained: bool) -> Segment:
    text = _needed(row, mapping, role)
    return Segment(text, trained, _template(row, mapping, role).own_spans(row))


def _classification(row: Mapping[str, Any], mapping: Mapping[str, str], labels: Sequence[str]) -> Example:
    segments = [Segment(_needed(row, mapping, "text"), trained=False)]
    if mapping.get("text_pair"):
        segments.append(Segment(_optional(row, mapping, "text_pair"), trained=False))
    label = _needed(row, mapping, "label")
    if label not in labels:
        hint = did_you_mean(label, labels)
        raise UserError(f"the label {label!r} is not one of the classes", where="data.columns.label", hint=hint)
    return Example(tuple(segments), labels.index(label))


def _alpaca(row: Mapping[str, Any], mapping: Mapping[str, str]) -> Example:
    instruction = _needed(row, mapping, "instruction")
    extra = _optional(row, mapping, "input")
    output = _needed(row, mapping, "output")
    request = f"{instruction}\n\n{extra}" if extra else instruction
    details = f"Input:\n{extra}\n\n" if extra else ""
    plain = f"Instruction:\n{instruction}\n\n{details}Response:\n"
    messages: tuple[Message, ...] = ({"role": "user", "content": request}, {"role": "assistant", "content": output})
    return Example((Segment(plain, trained=False), Segment(output, trained=True)), messages=messages)


def _conversation(row: Mapping[str, Any], mapping: Mapping[str, str], role: str) -> Example:
    messages = read_messages(row.get(mapping.get(role, "")), where=f"data.columns.{role}")
    segments: list[Segment] = []
    for message in messages:
        segments.append(Segment(f"{message['role'].capitalize()}:\n", trained=False))
        segments.append(Segment(message["content"], trained=message["role"] == "assistant"))
        segments.append(Segment("\n\n", trained=False))
    return Example(tuple(segments[:-1]), messages=messages)


def _needed(row: Mapping[str, Any], mapping: Mapping[str, str], role: str) -> str:
    """The text of a role; a UserError where a column of it is missing or all of it is blank."""
    template = _template(row, mapping, role)
    where = f"data.columns.{role}"
    for column in template.columns:
        if row.get(column) is None:
            raise UserError(f"column {column!r} has no value", where=where, hint="fill it in or leave such rows out")
    text = template.render(row)
    if not text.strip():
        raise UserError(f"the {role} is empty", where=where, hint="fill it in or leave such rows out")
    return text


def _optional(row: Mapping[str, Any], mapping: Mapping[str, str], role: str) -> str:
    return _template(row, mapping, role).render(row) if mapping.get(role) else ""


def _template(row: Mapping[str, Any], mapping: Mapping[str, str], role: str) -> Template:
    value = mapping.get(role)
    if not value:
        raise UserError(
            "the role has no column", where=f"data.columns.{role}", hint="name a column or write a template"
        )
    if value in row or not ("{" in value or "}" in value):
        return Template((("", value), ("", None)))
    try:
        return parse_template(value)
    except UserError as error:
        raise UserError(error.message, where=f"data.columns.{role}", hint=error.hint) from error
