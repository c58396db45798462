"""Rows from one table or view of a SQLite database, which is only read and never obeyed."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from studio.core.errors import Cancelled, UserError
from studio.core.units import MIB
from studio.datasets.decoding import MAX_EXPANSION, MAX_LINE_BYTES, open_bytes
from studio.datasets.progress import Gauge

MAX_WAIT_S = 60.0  # for the next row; a view may be a query without an end
_TIMEOUT_S = 5.0  # for a writer to finish
_SHOWN = 12
_CHECK_OPS = 100_000  # operations of SQLite's machine between looks at the clock
_UNCLOSED = "it was not closed properly: open it once with the program that writes it, then add it again"
_EMPTY = "choose a database with at least one table"
_HEADER = b"SQLite format 3\0"
_WAL = 2
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)
_SHADOWS = ("content", "data", "idx", "docsize", "config", "segments", "segdir", "stat", "node", "parent", "rowid")


class _NoText(bytes):
    """A text of the database that is not UTF-8."""


def read_sqlite(path: Path, name: str, meter: Gauge, table: str = "") -> Iterator[dict[str, Any]]:
    """Rows of ``table``, which may be left out if the database at ``path``, called ``name``, has only one."""
    clock = _Clock(meter)
    try:
        with _opened(path, name, clock) as connection:
            chosen, is_view = _choose(connection, name, table)
            yield from _rows(connection, path, name, meter, clock, chosen, is_view)
    except sqlite3.Error as error:
        if "interrupted" in str(error):
            raise _interrupted(name, clock) from error
        raise UserError(
            f"cannot be read as a SQLite database: {error}", where=name, hint=_remedy(str(error))
        ) from error
    except UnicodeDecodeError as error:  # in the name of a column, or in what SQLite says of a damaged schema
        raise UserError("its schema is not UTF-8 text", where=name, hint=_remedy("")) from error


def side_files(path: Path) -> list[Path]:
    """Files beside the database that hold changes to it."""
    found = [path.with_name(path.name + ending) for ending in ("-wal", "-journal")]
    return [file for file in found if file.exists() and file.stat().st_size]


class _Clock:
    """Stops SQLite when the user cancels or a row takes too long."""

    def __init__(self, meter: Gauge) -> None:
        self._meter = meter
        self.start_s = time.monotonic()

    def is_late(self) -> bool:
        return time.monotonic() - self.start_s > MAX_WAIT_S

    def stop(self) -> bool:
        try:
            self._meter.tick()
        except Cancelled:
            return True
        return self.is_late()


@contextmanager
def _opened(path: Path, name: str, clock: _Clock) -> Iterator[sqlite3.Connection]:
    with open_bytes(path) as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_HEADER):
        raise UserError(
            "the file is no SQLite database, or an encrypted one", where=name, hint="export its rows as CSV or JSONL"
        )
    logged = _WAL in header[18:20]
    if logged and side_files(path) and not path.with_name(path.name + "-shm").exists():
        raise UserError("changes to it wait in a log beside it", where=name, hint=_UNCLOSED)
    unlogged = logged and not side_files(path)  # opened otherwise, it would get a log beside it
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if unlogged else ''}"
    with closing(sqlite3.connect(uri, uri=True, timeout=_TIMEOUT_S, check_same_thread=False)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_LINE_BYTES)
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
        connection.set_progress_handler(clock.stop, _CHECK_OPS)
        connection.text_factory = _as_text
        yield connection


def _choose(connection: sqlite3.Connection, name: str, table: str) -> tuple[str, bool]:
    """The table to read and whether it is a view."""
    found, virtual = _tables(connection, name)
    if table in found:
        return table, found[table]
    if table in virtual or (virtual and not found):
        raise UserError(
            f"table {table or virtual[0]!r} is virtual: what it holds is computed by code",
            where=name,
            hint="copy its rows to an ordinary table first: CREATE TABLE copy AS SELECT * FROM ...",
        )
    if table:
        raise UserError(
            f"there is no table {table!r}", where=name, hint=f"choose one of: {_listed(found)}" if found else _EMPTY
        )
    if len(found) > 1:
        raise UserError(
            f"the database holds {len(found)} tables and views: {_listed(found)}",
            where=name,
            hint=f"choose one: pet-studio data add {name} --table NAME",
        )
    if not found:
        raise UserError("the database holds no tables", where=name, hint=_EMPTY)
    return next(iter(found.items()))


def _tables(connection: sqlite3.Connection, name: str) -> tuple[dict[str, bool], list[str]]:
    """Tables and views, which are True; and the names of virtual tables. SQLite's own are in neither."""
    ordinary: dict[str, bool] = {}
    virtual: list[str] = []
    for kind, table, root_page in connection.execute("SELECT type, name, rootpage FROM sqlite_master ORDER BY name"):
        if kind not in ("table", "view"):
            continue
        if not isinstance(table, str):
            raise UserError("the name of a table is not UTF-8 text", where=name, hint="rename the table")
        if kind == "view" or root_page:
            ordinary[table] = kind == "view"
        else:
            virtual.append(table)
    shadows = {f"{table}_{part}".lower() for table in virtual for part in _SHADOWS}
    hidden = [table for table in ordinary if table.lower() in shadows or table.lower().startswith("sqlite_")]
    return {table: is_view for table, is_view in ordinary.items() if table not in hidden}, virtual


def _rows(
    connection: sqlite3.Connection, path: Path, name: str, meter: Gauge, clock: _Clock, table: str, is_view: bool
) -> Iterator[dict[str, Any]]:
    size_bytes = path.stat().st_size
    quoted = '"' + table.replace('"', '""') + '"'
    cursor = connection.execute(f"SELECT * FROM {quoted}")  # the name comes from the schema and is quoted
    columns = [column[0] for column in cursor.description]
    limit_bytes = size_bytes * MAX_EXPANSION + 16 * MIB if is_view else None
    total = 0 if is_view else _last_row(connection, quoted)
    given_bytes = 0
    for number, values in enumerate(cursor, start=1):
        row = dict(zip(columns, values, strict=True))
        for column, value in row.items():
            if isinstance(value, bytes):
                raise _no_text(column, value, f"{name}: table {table!r}, row {number}")
        if limit_bytes is not None:
            given_bytes += sum(len(value) if isinstance(value, str) else 8 for value in values)
            _check_expansion(given_bytes, limit_bytes, table, name)
        yield row
        if total:
            position = min(size_bytes * number // total, size_bytes)
            meter.follow(lambda position=position: position)  # type: ignore[misc]
        clock.start_s = time.monotonic()


def _last_row(connection: sqlite3.Connection, quoted: str) -> int:
    """About how many rows the table has, without counting them; 0 if it numbers none."""
    try:
        last = connection.execute(f"SELECT max(rowid) FROM {quoted}").fetchone()[0]
    except sqlite3.OperationalError:  # a table without row numbers
        return 0
    return last if isinstance(last, int) and last > 0 else 0


def _as_text(data: bytes) -> str | _NoText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _NoText(data)


def _no_text(column: str, value: bytes, where: str) -> UserError:
    if isinstance(value, _NoText):
        return UserError(f"column {column!r} holds text that is not UTF-8", where=where, hint="write it as UTF-8")
    return UserError(
        f"column {column!r} holds binary data",
        where=where,
        hint="keep text and numbers: make a view without this column, and choose it with --table",
    )


def _check_expansion(bytes_: int, limit_bytes: int, table: str, name: str) -> None:
    if bytes_ > limit_bytes:
        raise UserError(
            f"view {table!r} gives more than {MAX_EXPANSION} times the size of the database",
            where=name,
            hint="write its rows to a table if they are meant to be so many",
        )


def _interrupted(name: str, clock: _Clock) -> Exception:
    if not clock.is_late():
        return Cancelled()
    return UserError(
        f"the next row takes longer than {MAX_WAIT_S:.0f} s",
        where=name,
        hint="write the rows of the view to a table: CREATE TABLE copy AS SELECT * FROM ...",
    )


def _remedy(reason: str) -> str:
    if "locked" in reason or "busy" in reason:
        return "close the program that writes to it, then add it again"
    if "unable to open" in reason or "readonly" in reason:
        return _UNCLOSED
    if "not authorized" in reason or "prohibited" in reason or "unsafe" in reason:
        return "choose a table, or a view that only selects from tables"
    if "too big" in reason:
        return f"shorten the longest text; {MAX_LINE_BYTES // MIB} MiB are the most a row may have"
    return "copy or download the file again, or repair it: sqlite3 FILE .recover"


def _listed(names: dict[str, bool]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
