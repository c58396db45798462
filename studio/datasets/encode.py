"""A row as token ids with a loss mask: the same code for the preview and for training."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import InvalidSpecError
from studio.datasets.chat import load_chat_template
from studio.datasets.check import check_task
from studio.datasets.example import Example, Segment
from studio.datasets.render import render_row
from studio.datasets.tokenizer import ModelTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Piece = tuple[list[int], bool]  # ids, and whether they carry loss


@dataclass(frozen=True)
class Encoded:
    """One row for the model.

    ``trained`` says for each id whether predicting it counts; all False for classification, where ``label``
    is the class and ``type_ids`` tells the two texts of a pair apart.
    """

    ids: list[int]
    trained: list[bool]
    label: int | None = None
    truncated: bool = False
    type_ids: list[int] | None = None


class Encoder:
    """Encodes the rows of one dataset for one model.

    Over-long rows lose the beginning of what comes before the last trained stretch, so that the answer stays
    whole; an answer that is too long by itself, and plain text, lose their end. ``date`` (YYYY-MM-DD) is what
    chat templates take for today; without it, the day on which this object was made.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        task: str,
        format: str,
        mapping: Mapping[str, str],
        labels: Sequence[str],
        max_length: int,
        date: str = "",
    ) -> None:
        problems = check_task(task, format)
        if problems:
            raise InvalidSpecError(problems)
        self._folder = model_path
        self._settings = [task, format, sorted(mapping.items()), list(labels), max_length]
        self.max_length = max_length
        self._format = format
        self._mapping = dict(mapping)
        self._labels = tuple(labels)
        self._tokenizer = ModelTokenizer(model_path)
        controls = tuple(self._tokenizer.controls.values())
        self._chat = load_chat_template(
            model_path, self._tokenizer.config, self._tokenizer.tokens, controls=controls, date=date
        )
        self._truncating = self._tokenizer.truncating(max_length) if task == "classification" else None

    @property
    def eos_id(self) -> int | None:
        return self._tokenizer.eos_id

    @property
    def pad_id(self) -> int:
        return self._tokenizer.pad_id

    @cached_property
    def fingerprint(self) -> str:
        """Equal where every row is encoded alike: of the settings, the tokenizer's files and version, and the date."""
        from tokenizers import __version__

        made_from = hashlib.sha256(json.dumps([self._settings, __version__]).encode())
        if self._chat is not None:
            made_from.update(self._chat.date.encode())
        for path in sorted(self._folder.iterdir()):
            if path.suffix in (".json", ".jinja", ".txt", ".model"):
                made_from.update(path.name.encode() + path.read_bytes())
        return made_from.hexdigest()

    def encode_text(self, text: str) -> list[int]:
        """The ids of a text, without special tokens."""
        return self._tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens included."""
        return self._tokenizer.decode(list(ids))

    def encode(self, row: Mapping[str, Any]) -> Encoded:
        """The row as ids; a UserError if a role's value is missing or wrong."""
        example = render_row(row, self._format, self._mapping, self._labels)
        if self._truncating is not None:
            return _encode_classes(self._truncating, example, self._tokenizer.controls)
        if example.messages and self._chat is not None:
            pieces = self._pieces(self._chat.segments(example.messages))
        else:
            pieces = self._framed(self._pieces(example.segments))
        return _joined(pieces, self.max_length, self._tokenizer.prefix_ids, cut_end=self._format == "text")

    def _pieces(self, segments: Sequence[Segment]) -> list[Piece]:
        """Every segment tokenised by itself, so that the mask's bounds are exact."""
        return [
            (self._tokenizer.encode(segment.text, segment.own, continues=position > 0), segment.trained)
            for position, segment in enumerate(segments)
        ]

    def _framed(self, pieces: list[Piece]) -> list[Piece]:
        """With what the tokenizer puts before every text, and the end token after the last trained stretch."""
        start = [(self._tokenizer.prefix_ids, False)] if self._tokenizer.prefix_ids else []
        end = [] if self.eos_id is None else [self.eos_id]
        ids, trained = pieces[-1]
        return [*start, *pieces[:-1], (ids + end, trained)]


def _encode_classes(tokenizer: "Tokenizer", example: Example, controls: Collection[int]) -> Encoded:
    texts = [segment.text for segment in example.segments]
    encoding = tokenizer.encode(texts[0], texts[1] if len(texts) > 1 else None)
    tokens = zip(encoding.ids, encoding.type_ids, encoding.special_tokens_mask, strict=True)
    # some vocabularies hold control tokens as words too: only those that the tokenizer itself adds stay
    kept = [(id_, type_) for id_, type_, added in tokens if added or id_ not in controls]
    type_ids = [type_ for _, type_ in kept] if len(texts) > 1 else None
    ids = [id_ for id_, _ in kept]
    return Encoded(ids, [False] * len(ids), example.label, bool(encoding.overflowing), type_ids)


def _joined(pieces: Sequence[Piece], max_length: int, prefix: Sequence[int], *, cut_end: bool) -> Encoded:
    """One row from its pieces, cut to ``max_length``; what the tokenizer puts in front is never cut off."""
    ids = [id_ for piece, _trained in pieces for id_ in piece]
    trained = [flag for piece, flag in pieces for _id in piece]
    if len(ids) <= max_length:
        return Encoded(ids, trained)
    kept = len(prefix) if ids[: len(prefix)] == list(prefix) else 0
    last = max((index for index, (_ids, flag) in enumerate(pieces) if flag), default=0)
    answer = len(ids) - sum(len(piece) for piece, _trained in pieces[last:])
    start = kept if cut_end else min(kept + len(ids) - max_length, max(answer, kept))
    chosen = [*range(kept), *range(start, len(ids))][:max_length]
    return Encoded([ids[i] for i in chosen], [trained[i] for i in chosen], truncated=True)
