"""Rows from Parquet and Arrow files, a batch at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.core.units import MIB
from studio.datasets.decoding import MAX_EXPANSION
from studio.datasets.progress import Gauge

BATCH_ROWS = 1024
BATCH_BYTES = 64 * MIB

_FEW_ROWS = 16


def read_parquet(path: Path, name: str, meter: Gauge) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, which messages call ``name``."""
    import pyarrow as pa
    from pyarrow import parquet

    size_bytes = path.stat().st_size
    done_rows = given_bytes = 0
    try:
        with parquet.ParquetFile(path, buffer_size=MIB, pre_buffer=False) as file:
            _check_names(file.schema_arrow.names, name)
            total_rows = max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(_batch_rows(file.metadata)):
                given_bytes += batch.nbytes
                if given_bytes > size_bytes * MAX_EXPANSION + 16 * MIB:
                    raise UserError(
                        f"the file unpacks to more than {MAX_EXPANSION} times its size",
                        where=name,
                        hint="if you trust it, write it without compression and dictionaries, and add that",
                    )
                yield from _rows(batch, name)
                done_rows += batch.num_rows
                _follow(meter, size_bytes * done_rows // total_rows)
    except (pa.ArrowException, OSError, ValueError) as error:  # the last: names that are not UTF-8
        raise _unreadable(name, "Parquet", error) from error


def read_arrow(path: Path, name: str, meter: Gauge) -> Iterator[dict[str, Any]]:
    """Rows of an Arrow IPC file or stream (.arrow, .feather), which messages call ``name``."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            for batch, position in _batches(source):
                _check_names(batch.schema.names, name)
                yield from _rows(batch, name)
                _follow(meter, position)
    except (pa.ArrowException, OSError, ValueError) as error:  # the last: names that are not UTF-8
        raise _unreadable(name, "Arrow", error) from error


def _batches(source: Any) -> Iterator[tuple[Any, int]]:
    """The batches of a file or stream, each with the position behind it."""
    import pyarrow as pa

    try:
        file = pa.ipc.open_file(source)
    except pa.ArrowInvalid:  # not the file format; datasets are often saved as streams
        source.seek(0)
        for batch in pa.ipc.open_stream(source):
            yield batch, source.tell()
        return
    for number in range(file.num_record_batches):
        yield file.get_batch(number), source.size() * (number + 1) // file.num_record_batches


def _batch_rows(metadata: Any) -> int:
    """How many rows of a Parquet file to read at once, so that long texts do not fill the memory."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    row_bytes = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=1)
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    shared_bytes = max((column.total_uncompressed_size for column in columns if column.has_dictionary_page), default=1)
    most = max(_FEW_ROWS, BATCH_BYTES // max(shared_bytes, 1))  # each row may hold all of what rows can share
    return max(1, min(BATCH_ROWS, most, BATCH_BYTES // max(row_bytes, 1)))


def _check_names(names: list[str], file: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"the file names column {twice[0]!r} more than once", where=file, hint="give every column its own name"
        )


def _rows(batch: Any, file: str) -> Iterator[dict[str, Any]]:
    classes = _class_names(batch.schema.metadata)
    for name in batch.schema.names:
        _check(batch.column(name), name, file)
    rows_at_once = max(1, min(BATCH_ROWS, BATCH_BYTES * batch.num_rows // max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, rows_at_once):
        part = batch.slice(start, rows_at_once)
        columns = {name: _values(part.column(name), name, file) for name in part.schema.names}
        columns |= {name: _named(columns[name], classes[name]) for name in columns.keys() & classes.keys()}
        names = list(columns)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))


def _follow(meter: Gauge, position: int) -> None:
    meter.follow(lambda: position)


def _values(column: Any, name: str, file: str) -> list[Any]:
    """A column as Python values that JSON has; times and decimals become text."""
    import pyarrow as pa

    kind = _plain_type(column.type)
    if kind is None:
        raise UserError(
            f"column {name!r} holds binary data", where=file, hint="keep text, numbers and lists; drop this column"
        )
    try:
        values: list[Any] = (column if kind == column.type else column.cast(kind)).to_pylist()
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise _no_values(column, name, file, error) from error
    return values


def _check(column: Any, name: str, file: str) -> None:
    """A UserError if the column's insides do not fit together: even to ask for its size would crash."""
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowException as error:
        raise _no_values(column, name, file, error) from error


def _no_values(column: Any, name: str, file: str, error: Exception) -> UserError:
    return UserError(
        f"column {name!r} of type {column.type} cannot be read: {_first_line(error)}",
        where=file,
        hint="write the file again, this column as text or without it",
    )


def _plain_type(kind: Any) -> Any:  # noqa: PLR0911 - one return per family of types
    """The type, JSON knowing it or something like it, to read a column as; None for binary data."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_temporal(kind) or types.is_decimal(kind):
        return pa.string()
    if types.is_float16(kind):
        return pa.float32()
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if types.is_map(kind):
        key, item = _plain_type(kind.key_type), _plain_type(kind.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if types.is_struct(kind):
        fields = [(kind.field(i).name, _plain_type(kind.field(i).type)) for i in range(kind.num_fields)]
        return None if any(inner is None for _name, inner in fields) else pa.struct(fields)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _plain_type(kind.value_type)
        if inner is None or inner == kind.value_type:
            return None if inner is None else kind
        return pa.list_(inner, kind.list_size) if types.is_fixed_size_list(kind) else pa.large_list(inner)
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return None if any(is_binary(kind) for is_binary in binary) else kind


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
    return UserError(
        f"cannot be read as {kind}: {_first_line(error)}", where=name, hint="write or download the file again"
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
