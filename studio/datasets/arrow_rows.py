"""Rows from Parquet and Arrow files, a batch at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.datasets.progress import Gauge

BATCH_ROWS = 1024


def read_parquet(path: Path, name: str, meter: Gauge) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            total = max(file.metadata.num_rows, 1)
            yield from _rows(file.iter_batches(BATCH_ROWS), path, name, meter, total)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(name, "Parquet", error) from error


def read_arrow(path: Path, name: str, meter: Gauge) -> Iterator[dict[str, Any]]:
    """Rows of an Arrow IPC file or stream (.arrow, .feather)."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            try:
                table = pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid:  # not the file format; datasets are often saved as streams
                source.seek(0)
                table = pa.ipc.open_stream(source).read_all()
            yield from _rows(table.to_batches(BATCH_ROWS), path, name, meter, max(table.num_rows, 1))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(name, "Arrow", error) from error


def _rows(batches: Any, path: Path, file: str, meter: Gauge, total: int) -> Iterator[dict[str, Any]]:
    size_bytes = path.stat().st_size
    done = 0
    for batch in batches:
        classes = _class_names(batch.schema.metadata)
        columns = {name: _values(batch.column(name), name, file) for name in batch.schema.names}
        columns |= {name: _named(columns[name], classes[name]) for name in columns.keys() & classes.keys()}
        names = list(columns)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))
        done += batch.num_rows
        position = size_bytes * done // total
        meter.follow(lambda position=position: position)  # type: ignore[misc]


def _values(column: Any, name: str, file: str) -> list[Any]:
    """A column as Python values that JSON has; times and decimals become text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        raise UserError(
            f"column {name!r} holds binary data", where=file, hint="keep text, numbers and lists; drop this column"
        )
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names of numbered classes by column, which the HF datasets library leaves in the file."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        classes = {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):  # no such note, or one of another shape
        return {}
    return {name: names for name, names in classes.items() if isinstance(names, list)}


def _named(values: list[Any], names: list[str]) -> list[Any]:
    """Class numbers as their names; others (-1 stands for "unknown") as missing."""
    return [str(names[value]) if isinstance(value, int) and 0 <= value < len(names) else None for value in values]


def _unreadable(name: str, kind: str, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"cannot be read as {kind}: {reason}", where=name, hint="write or download the file again")
