"""Chat templates: a conversation as the model's own text, with the assistant's part marked."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.datasets.example import Message, Segment
from studio.datasets.veil import ControlNames, Veil


class ChatTemplate:
    """A model's chat template, rendered in a sandbox.

    ``tokens`` are the special tokens by name ("eos_token"), ``controls`` the names of all control tokens. Templates
    that print today's date get ``date`` (YYYY-MM-DD), else the day on which this object was made; for others ``date``
    is empty.
    """

    def __init__(
        self, source: str, tokens: Mapping[str, str], *, controls: Collection[str] = (), date: str = ""
    ) -> None:
        self._source = source
        self._tokens = dict(tokens)
        self._controls = ControlNames(controls)
        self.date = (date or datetime.now().astimezone().date().isoformat()) if "strftime_now" in source else ""
        self._template = _compile(source, date)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """The conversation as text; with ``add_generation_prompt`` it ends where the assistant goes on."""
        import jinja2

        try:
            text: str = self._template.render(
                messages=list(messages),
                add_generation_prompt=add_generation_prompt,
                tools=None,
                documents=None,
                **self._tokens,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise UserError(
                f"the model's chat template refuses the conversation: {error}",
                where="data.columns",
                hint="check the order of the turns, or use the format prompt-completion, which needs no template",
            ) from error
        return text

    def segments(self, messages: Sequence[Message]) -> tuple[Segment, ...]:
        """The text of a conversation that ends with the assistant; only the assistant's turns are trained.

        The bounds come from rendering every beginning of the conversation. Templates that write earlier turns
        differently once later ones follow (they drop reasoning, say) train the last answer alone. What a turn
        says is never the segments' ``own``.
        """
        veil = Veil(self._controls, messages, self._source)
        return tuple(veil.lift(segment) for segment in self._segments(veil.messages))

    def _segments(self, messages: Sequence[Message]) -> tuple[Segment, ...]:
        full = self.render(messages)
        answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        spans = self._spans(messages, full, answers)
        if spans is None:
            spans = self._spans(messages, full, answers[-1:])
        if spans is None:
            raise UserError(
                "the model's chat template does not continue its own prompt, so the answer cannot be told apart",
                where="data.format",
                hint="use the format prompt-completion, which needs no chat template",
            )
        return self._cut(full, spans)

    def _spans(self, messages: Sequence[Message], full: str, answers: Sequence[int]) -> list[tuple[int, int]] | None:
        spans: list[tuple[int, int]] = []
        for index in answers:
            start = self._prompt_end(messages[:index], full)
            end = len(full) if index == len(messages) - 1 else self._end(messages[: index + 1], full)
            if start is None or end is None or end < start:
                return None
            spans.append((start, end))
        return spans

    def _prompt_end(self, messages: Sequence[Message], full: str) -> int | None:
        prompt = self.render(messages, add_generation_prompt=True)
        return len(prompt) if full.startswith(prompt) else None

    def _end(self, messages: Sequence[Message], full: str) -> int | None:
        text = self.render(messages)
        return len(text) if full.startswith(text) else None

    def _cut(self, full: str, spans: list[tuple[int, int]]) -> tuple[Segment, ...]:
        segments: list[Segment] = []
        at = 0
        for start, end in spans:
            stop = start + len(self._without_tail(full[start:end]))
            segments += [Segment(full[at:start], trained=False), Segment(full[start:stop], trained=True)]
            at = stop
        segments.append(Segment(full[at:], trained=False))
        return tuple(segment for segment in segments if segment.text)

    def _without_tail(self, answer: str) -> str:
        """Up to the end-of-turn token: the line break that some templates add is never generated."""
        bare = answer.rstrip()
        eos = self._tokens.get("eos_token", "")
        return bare if eos and bare.endswith(eos) else answer


def load_chat_template(
    folder: Path,
    config: Mapping[str, Any],
    tokens: Mapping[str, str],
    *,
    controls: Collection[str] = (),
    date: str = "",
) -> ChatTemplate | None:
    """The template of a model folder: ``chat_template.jinja``, or the entry in its tokenizer's config."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return ChatTemplate(file.read_text(encoding="utf-8"), tokens, controls=controls, date=date)
    source = config.get("chat_template")
    if isinstance(source, list):  # several named ones
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default") or next(iter(named.values()), None)
    if not isinstance(source, str) or not source:
        return None
    return ChatTemplate(source, tokens, controls=controls, date=date)


def _compile(source: str, date: str) -> Any:
    """Compile as transformers does: same whitespace rules, filters and functions, in an immutable sandbox."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation_tag(), "jinja2.ext.loopcontrols"]
    )
    now = datetime.fromisoformat(date) if date else datetime.now().astimezone()
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = now.strftime
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise UserError(
            f"the model's chat template is not valid: {error}",
            where="chat_template.jinja",
            hint="correct the file in the model's folder, or use the format prompt-completion",
        ) from error


def _generation_tag() -> type[Any]:
    """``{% generation %}``, with which templates mark the assistant's words; it prints its body."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser

    class GenerationTag(Extension):
        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return GenerationTag


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)
