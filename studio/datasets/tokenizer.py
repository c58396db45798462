"""The tokenizer of a model folder, read without transformers: ids, special tokens, pieces of a longer text."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import UserError
from studio.datasets.example import Span

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONFIGS = ("tokenizer_config.json", "special_tokens_map.json")
_MODEL_CONFIGS = ("generation_config.json", "config.json")
_STEERING = ("bos_token", "eos_token", "cls_token", "sep_token", "mask_token")
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


class ModelTokenizer:
    """Encodes texts whole, or as the beginning or continuation of a longer text, always to the same ids."""

    def __init__(self, folder: Path) -> None:
        self._spec = _read_spec(folder)
        self.raw = _build(self._spec, folder)
        continuing = _without_leading_space(self._spec)
        self._continuing = self.raw if continuing is None else _build(continuing, folder)
        self.config = _read_json(folder / _CONFIGS[0])
        self.tokens = _special_tokens(folder)
        self.eos_id = self._id_of("eos_token", folder)
        self.pad_id = self._pad_id(folder)
        self.prefix_ids = self._prefix_ids()
        self.controls = self._controls()

    @cached_property
    def _literal(self) -> "Tokenizer":
        """For text that names control tokens, which few rows do."""
        return _literal(self._continuing)

    def encode(self, text: str, own: Sequence[Span] = (), *, continues: bool = False) -> list[int]:
        """Ids without special tokens added; ``continues`` if other text comes before.

        The name of a control token is that token only inside the spans ``own``; elsewhere it is plain text.
        """
        tokenizer = self._continuing if continues else self.raw
        encoding = tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = encoding.ids
        forged = [] if self.controls.keys().isdisjoint(ids) else self._forged(text, encoding, own)
        if not forged:
            return ids
        ids, at = [], 0
        for start, end in forged:
            before = tokenizer if at == 0 else self._continuing
            ids += before.encode(text[at:start], add_special_tokens=False).ids if start > at else []
            ids += self.without_controls(self._literal.encode(text[start:end], add_special_tokens=False).ids)
            at = end
        return [*ids, *(self._continuing.encode(text[at:], add_special_tokens=False).ids if at < len(text) else [])]

    def without_controls(self, ids: Sequence[int]) -> list[int]:
        """The ids that are words; some vocabularies hold control tokens as words too."""
        return [id_ for id_ in ids if id_ not in self.controls]

    def _forged(self, text: str, encoding: Any, own: Sequence[Span]) -> list[Span]:
        """Where control tokens come from text that no template wrote."""
        places = zip(encoding.ids, encoding.offsets, strict=True)
        found = [(id_, _stripped(text, *span)) for id_, span in places if id_ in self.controls]
        return [
            (start, end)
            for id_, (start, end) in found
            if text[start:end] != self.controls[id_] or not any(a <= start and end <= b for a, b in own)
        ]

    def _controls(self) -> dict[int, str]:
        """The tokens that steer the model instead of being text: their ids and names."""
        added = self.raw.get_added_tokens_decoder()
        controls = {id_: token.content for id_, token in added.items() if token.special}
        controls.pop(self._unknown_id(), None)
        for key in _STEERING:
            id_ = self.raw.token_to_id(self.tokens.get(key, ""))
            if id_ is not None:
                controls[id_] = self.tokens[key]
        return controls

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens included."""
        text: str = self.raw.decode(ids, skip_special_tokens=False)
        return text

    def _unknown_id(self) -> int:
        """The id of words that the vocabulary has not; -1 if it has all."""
        model = self._spec.get("model") or {}
        name = self.tokens.get("unk_token") or model.get("unk_token")
        known = self.raw.token_to_id(name) if name else model.get("unk_id")
        return -1 if known is None else int(known)

    def truncating(self, max_length: int) -> "Tokenizer":
        """A tokenizer that adds its special tokens and cuts texts (the longer of a pair first) to ``max_length``.

        Names of control tokens in the texts are plain text to it.
        """
        tokenizer = _literal(self.raw)
        tokenizer.enable_truncation(max_length, strategy="longest_first")
        return tokenizer

    def _prefix_ids(self) -> list[int]:
        """What the tokenizer itself puts before every text: usually nothing or a beginning-of-sequence token."""
        bare = self.raw.encode("a", add_special_tokens=False).ids
        full = self.raw.encode("a", add_special_tokens=True).ids
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return list(full[:start])
        return []

    def _id_of(self, name: str, folder: Path) -> int | None:
        token = self.tokens.get(name)
        if token is not None:
            known: int | None = self.raw.token_to_id(token)
            if known is not None:
                return known
        return _configured_id(folder, f"{name}_id")

    def _pad_id(self, folder: Path) -> int:
        """The padding token, else the end token, else 0: padding is masked, so any id will do."""
        found = self._id_of("pad_token", folder)
        fallback = 0 if self.eos_id is None else self.eos_id
        return fallback if found is None else found


def _literal(tokenizer: "Tokenizer") -> "Tokenizer":
    """The same tokenizer, to which the names of control tokens are plain text."""
    from tokenizers import Tokenizer

    literal: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
    literal.encode_special_tokens = True
    return literal


def _stripped(text: str, start: int, end: int) -> Span:
    """The span without the blanks that some control tokens swallow around them."""
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), start + len(inner.rstrip())


def _read_spec(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            "the model has no tokenizer.json",
            where=str(folder),
            hint="put the model's tokenizer.json into this folder, or add the model again from a GGUF file",
        )
    spec = _read_json(path)
    spec["padding"] = None  # some files pad and cut every text to a fixed length
    spec["truncation"] = None
    return spec


def _build(spec: dict[str, Any], folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(json.dumps(spec))
    except Exception as error:  # tokenizers raises nothing more specific
        raise UserError(
            f"tokenizer.json is not usable: {error}", where=str(folder), hint="download the model's tokenizer again"
        ) from error


def _without_leading_space(spec: dict[str, Any]) -> dict[str, Any] | None:
    """The spec for text that continues other text: no space is put before it; None if none is put anyway."""
    changed = dict(spec)
    for part in ("normalizer", "pre_tokenizer"):
        changed[part] = _strip_part(spec.get(part))
    return changed if changed != spec else None


def _strip_part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend":
        return None
    stripped = dict(part)
    if "prepend_scheme" in part:
        stripped["prepend_scheme"] = "never"
    if "add_prefix_space" in part:
        stripped["add_prefix_space"] = False
    for key in ("normalizers", "pretokenizers"):
        if key in part:
            stripped[key] = [kept for kept in map(_strip_part, part[key]) if kept is not None]
    return stripped


def _special_tokens(folder: Path) -> dict[str, str]:
    """Special tokens by name; a token is written as a text or as an object with its content."""
    found: dict[str, str] = {}
    for name in reversed(_CONFIGS):
        for key, value in _read_json(folder / name).items():
            token = value.get("content") if isinstance(value, dict) else value
            if key in _SPECIAL and isinstance(token, str):
                found[key] = token
    return found


def _configured_id(folder: Path, key: str) -> int | None:
    for name in _MODEL_CONFIGS:
        value = _read_json(folder / name).get(key)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, int):
            return first
    return None


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path.name} is not valid JSON", where=str(path), hint="download the file again") from error
    return value if isinstance(value, dict) else {}
