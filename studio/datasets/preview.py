"""A dataset as the model will see it, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from studio.core.errors import UserError
from studio.datasets.encode import Encoded, Encoder
from studio.datasets.example import Segment
from studio.datasets.render import render_row
from studio.datasets.store import StoredDataset


@dataclass(frozen=True)
class PreviewRow:
    """One row: as stored, and as text with what is trained marked.

    With an encoder ``segments`` are the very tokens of training, decoded (special tokens and cuts included).
    ``error`` says why the row cannot be used; it is empty for a good one.
    """

    index: int
    row: dict[str, Any]
    segments: tuple[Segment, ...] = ()
    label: str = ""
    tokens: int | None = None
    trained: int | None = None
    truncated: bool = False
    error: str = ""


def preview(
    dataset: StoredDataset,
    encoder: Encoder | None,
    format: str,
    mapping: Mapping[str, str],
    labels: Sequence[str],
    start: int,
    count: int,
) -> list[PreviewRow]:
    """``count`` rows from ``start``; fewer where the dataset ends."""
    return [
        _preview(index, row, encoder, format, mapping, labels)
        for index, row in enumerate(dataset.rows(start, start + count), start=max(start, 0))
    ]


def _preview(
    index: int,
    row: dict[str, Any],
    encoder: Encoder | None,
    format_: str,
    mapping: Mapping[str, str],
    labels: Sequence[str],
) -> PreviewRow:
    try:
        example = render_row(row, format_, mapping, labels)
        label = "" if example.label is None else labels[example.label]
        if encoder is None:
            return PreviewRow(index, row, example.segments, label)
        encoded = encoder.encode(row)
    except UserError as error:
        return PreviewRow(index, row, error=str(error))
    return PreviewRow(
        index, row, _decoded(encoded, encoder), label, len(encoded.ids), sum(encoded.trained), encoded.truncated
    )


def _decoded(encoded: Encoded, encoder: Encoder) -> tuple[Segment, ...]:
    stretches = groupby(zip(encoded.ids, encoded.trained, strict=True), key=lambda pair: pair[1])
    return tuple(Segment(encoder.decode([id_ for id_, _flag in pairs]), trained) for trained, pairs in stretches)
