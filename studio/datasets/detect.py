"""Which format a dataset has and which column plays which role, with the reason."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.errors import UserError
from studio.datasets.profile import Profile

_PASSAGES = ("passage", "context", "paragraph", "document", "article")
_QUESTIONS = ("question", "query")
_ANSWERS = ("answer", "label", "response", "output", "completion")
_PROMPTS = ("prompt", "question", "query", "problem", "input", "source", "document", "article", "dialogue")
_COMPLETIONS = ("completion", "response", "answer", "output", "target", "solution", "summary", "highlights")
_TEXTS = ("text", "sentence", "content", "review", "comment", "tweet", "utterance", "message", "body", "document")
_LABELS = (
    "label", "labels", "class", "category", "sentiment", "intent", "topic", "emotion", "subject", "target",
    "stars", "rating", "y",
)  # fmt: skip
_PAIRS = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text1", "text2"),
    ("question", "sentence"), ("query", "passage"), ("question", "passage"),
)  # fmt: skip
_SHOWN = 12  # names of columns in a message


@dataclass(frozen=True)
class Detection:
    """A format with its mapping of roles to columns; ``confidence`` is 0..1, ``reason`` one sentence."""

    format: str
    mapping: dict[str, str]
    confidence: float
    reason: str


def detect(profile: Profile, name: str = "the rows") -> Detection:
    """The most likely format of the rows; ``name`` is what messages call their source."""
    for finder in (_conversations, _alpaca, _passage_question, _prompt_completion, _classification, _text):
        found = finder(profile)
        if found is not None:
            return found
    columns = ", ".join(repr(column) for column in list(profile.columns)[:_SHOWN])
    more = f" and {len(profile.columns) - _SHOWN} more" if len(profile.columns) > _SHOWN else ""
    raise UserError(
        f"no column holds text to learn from: {columns}{more}" if columns else "the rows have no columns",
        where=name,
        hint="add a text column, or name format and columns yourself",
    )


def detect_mapping(format_: str, profile: Profile) -> dict[str, str] | None:
    """The mapping for a format that the user has chosen; None if no columns fit it."""
    finders = {
        "alpaca": (_alpaca,),
        "sharegpt": (_conversations,),
        "messages": (_conversations,),
        "prompt-completion": (_passage_question, _prompt_completion),
        "classification": (_classification,),
        "text": (_text,),
    }
    for finder in finders[format_]:
        found = finder(profile)
        if found is not None and found.format == format_:
            return found.mapping
    return None


def _conversations(profile: Profile) -> Detection | None:
    for name in profile.columns:
        for format_, keys in (("sharegpt", ("from", "value")), ("messages", ("role", "content"))):
            if _holds_turns(profile.sample, name, keys):
                role = "conversations" if format_ == "sharegpt" else "messages"
                reason = f"Column {name!r} holds turns with {keys[0]!r} and {keys[1]!r}."
                return Detection(format_, {role: name}, 0.98, reason)
    return None


def _holds_turns(sample: list[dict[str, Any]], column: str, keys: tuple[str, str]) -> bool:
    values = [row[column] for row in sample if row.get(column) is not None]
    good = sum(
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, Mapping) and turn.keys() >= set(keys) for turn in value)
        for value in values
    )
    return good > 0 and good >= 0.9 * len(values)


def _alpaca(profile: Profile) -> Detection | None:
    instruction = _named(profile, ("instruction",))
    output = _named(profile, ("output", "response", "answer", "completion"))
    if instruction is None or output is None:
        return None
    mapping = {"instruction": instruction, "output": output}
    extra = _named(profile, ("input", "context"))
    if extra is not None:
        mapping["input"] = extra
    return Detection("alpaca", mapping, 0.97, f"Columns {_listed(mapping)} are those of instruction data.")


def _passage_question(profile: Profile) -> Detection | None:
    passage = _named(profile, _PASSAGES)
    question = _named(profile, _QUESTIONS)
    answer = _named(profile, _ANSWERS)
    if passage is None or question is None or answer is None:
        return None
    if any(brace in name for name in (passage, question, answer) for brace in "{}"):
        return None  # such names cannot be written in a template
    mark = "" if _ends_with_mark(profile.sample, question) else "?"
    mapping = {"prompt": f"{{{passage}}}\nQuestion: {{{question}}}{mark}\nAnswer:", "completion": f"{{{answer}}}"}
    reason = f"Columns {passage!r}, {question!r} and {answer!r} are reading questions with answers."
    return Detection("prompt-completion", mapping, 0.9, reason)


def _ends_with_mark(sample: list[dict[str, Any]], column: str) -> bool:
    questions = [str(row.get(column, "")).rstrip() for row in sample]
    return sum(question.endswith("?") for question in questions) > len(questions) / 2


def _prompt_completion(profile: Profile) -> Detection | None:
    prompt = _named(profile, _PROMPTS)
    completion = _named(profile, _COMPLETIONS)
    if prompt is None or completion is None:
        return None
    mapping = {"prompt": prompt, "completion": completion}
    sure = prompt.lower() == "prompt" and completion.lower() in ("completion", "response")
    return Detection(
        "prompt-completion", mapping, 0.97 if sure else 0.85, f"Columns {_listed(mapping)} are a prompt and its answer."
    )


def _classification(profile: Profile) -> Detection | None:
    label, named = _label_column(profile)
    if label is None:
        return None
    pair = _pair(profile, label)
    text = pair[0] if pair else _text_column(profile, label)
    if text is None:
        return None
    mapping = {"text": text, "label": label}
    if pair:
        mapping["text_pair"] = pair[1]
    classes = len(profile.columns[label].values or ())
    reason = f"Column {label!r} has {classes} different values and {text!r} holds text."
    return Detection("classification", mapping, 0.95 if named else 0.6, reason)


def _label_column(profile: Profile) -> tuple[str | None, bool]:
    """A column of classes, and whether its name says so."""
    candidates = [
        name
        for name, column in profile.columns.items()
        if column.values and len(column.values) >= 2 and column.present >= 2 * len(column.values)
    ]
    by_name = {name.lower(): name for name in candidates}
    for known in _LABELS:
        if known in by_name:
            return by_name[known], True
    repeated = [
        name for name in candidates if profile.columns[name].present >= 10 * len(profile.columns[name].values or ())
    ]
    return (repeated[-1], False) if repeated else (None, False)


def _pair(profile: Profile, label: str) -> tuple[str, str] | None:
    for first, second in _PAIRS:
        left, right = _named(profile, (first,)), _named(profile, (second,))
        if left and right and label not in (left, right):
            return left, right
    return None


def _text_column(profile: Profile, label: str | None) -> str | None:
    others = {name: column for name, column in profile.columns.items() if name != label and column.is_text}
    by_name = {name.lower(): name for name in others}
    for known in _TEXTS:
        if known in by_name:
            return by_name[known]
    return max(others, key=lambda name: others[name].mean_chars, default=None)


def _text(profile: Profile) -> Detection | None:
    text = _text_column(profile, None)
    if text is None:
        return None
    if len(profile.columns) == 1:
        return Detection("text", {"text": text}, 0.95, f"Column {text!r} is the only one and holds text.")
    if text.lower() in _TEXTS:
        return Detection("text", {"text": text}, 0.8, f"Column {text!r} holds text and no other column fits a role.")
    return Detection("text", {"text": text}, 0.4, f"Column {text!r} has the longest texts; no column names are known.")


def _named(profile: Profile, names: Iterable[str]) -> str | None:
    """The first of these columns (whatever the case) that holds text, numbers or booleans in most rows."""
    by_name = {name.lower(): name for name in profile.columns}
    for known in names:
        name = by_name.get(known)
        if name is not None and profile.columns[name].scalars >= 0.5 * max(profile.columns[name].present, 1):
            return name
    return None


def _listed(mapping: Mapping[str, str]) -> str:
    names = [repr(name) for name in mapping.values()]
    return f"{', '.join(names[:-1])} and {names[-1]}"
