"""Append-only steps that bring a catalog file up to date; none may change once released."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from studio.core.errors import MachineError, UserError

Migration = Callable[[sqlite3.Connection], None]


def m001_runs_and_curves(connection: sqlite3.Connection) -> None:
    """The first schema: runs, their documents, tags, metric summaries and curves, and the text index."""
    for statement in _M001.split(";"):
        connection.execute(statement)
    if has_fts5(connection):
        connection.execute(
            "CREATE VIRTUAL TABLE run_search USING fts5(name, notes, tags, model, data, method, error, id)"
        )


def m002_what_forecasts_learn_from(connection: sqlite3.Connection) -> None:
    """How a run was foreseen, with what it ran and how its energy was metered; the next refresh reads it."""
    for column in (
        "basis TEXT NOT NULL DEFAULT 'formula'", "driver TEXT NOT NULL DEFAULT ''", "torch TEXT NOT NULL DEFAULT ''",
        "unmetered_s REAL NOT NULL DEFAULT 0", "shared INTEGER",
        "halved INTEGER NOT NULL DEFAULT 0",
    ):  # fmt: skip
        connection.execute(f"ALTER TABLE run ADD COLUMN {column}")
    connection.execute("UPDATE run SET log_bytes = 0")  # as if the logs had grown


MIGRATIONS: tuple[Migration, ...] = (m001_runs_and_curves, m002_what_forecasts_learn_from)

_M001 = """
CREATE TABLE run (
    key INTEGER NOT NULL PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
    task TEXT NOT NULL, model TEXT NOT NULL, data TEXT NOT NULL, method TEXT NOT NULL,
    model_fingerprint TEXT NOT NULL, device TEXT NOT NULL, precision TEXT NOT NULL,
    trainable INTEGER, step INTEGER NOT NULL, steps INTEGER,
    created REAL NOT NULL, started REAL, updated REAL, ended REAL,
    eval_before REAL, eval_after REAL,
    seconds REAL, seconds_per_step REAL, tokens_per_second REAL, watt_hours REAL, peak_bytes INTEGER,
    predicted_bytes INTEGER, predicted_seconds_per_step REAL, predicted_watts REAL,
    error TEXT NOT NULL, parent TEXT, star INTEGER NOT NULL, notes TEXT NOT NULL, trashed REAL,
    log_offset INTEGER NOT NULL, log_bytes INTEGER NOT NULL
);
CREATE UNIQUE INDEX run_id ON run (id);
CREATE INDEX run_state ON run (state);
CREATE INDEX run_created ON run (created);
CREATE TABLE document (
    run_id INTEGER NOT NULL PRIMARY KEY REFERENCES run (key) ON DELETE CASCADE,
    spec TEXT NOT NULL, plan TEXT NOT NULL, estimate TEXT NOT NULL, snapshot TEXT NOT NULL
);
CREATE TABLE tag (
    run_id INTEGER NOT NULL REFERENCES run (key) ON DELETE CASCADE, tag TEXT NOT NULL, PRIMARY KEY (run_id, tag)
);
CREATE INDEX tag_tag ON tag (tag);
CREATE TABLE metric_summary (
    run_id INTEGER NOT NULL REFERENCES run (key) ON DELETE CASCADE, name TEXT NOT NULL,
    last REAL, min REAL, max REAL, step INTEGER NOT NULL, PRIMARY KEY (run_id, name)
);
CREATE TABLE curve_chunk (
    key INTEGER NOT NULL PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (key) ON DELETE CASCADE, metric TEXT NOT NULL,
    first_step REAL NOT NULL, last_step REAL NOT NULL, points INTEGER NOT NULL,
    steps BLOB NOT NULL, "values" BLOB NOT NULL
);
CREATE INDEX curve_chunk_run_metric ON curve_chunk (run_id, metric, first_step)
"""


def migrate(path: Path) -> list[str]:
    """Apply what is missing, each step and its record in one transaction; the names applied.

    A file that already holds something is copied next to itself first.

    Raises:
        UserError: a newer studio wrote the file, or it is no database.
        MachineError: it cannot be opened, read or backed up.
    """
    try:
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
            before = applied(connection)
            _refuse_newer(path, before)
            pending = [step for step in MIGRATIONS if step.__name__ not in before]
            if before and pending:
                _back_up(connection, path.with_name(f"{path.name}.before-{pending[0].__name__}"))
            return [step.__name__ for step in pending if _apply(connection, step)]
    except sqlite3.OperationalError as error:
        raise MachineError(
            f"the catalog cannot be opened: {error}", where=str(path), hint="check the disk and the file's rights"
        ) from error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"the catalog is damaged: {error}",
            where=str(path),
            hint="run `pet-studio catalog rebuild`: it is recreated from the run folders",
        ) from error


def applied(connection: sqlite3.Connection) -> list[str]:
    """Names of the steps a file has been through, oldest first; reads only."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migration'").fetchone():
        return []
    return [name for (name,) in connection.execute("SELECT name FROM migration ORDER BY rowid")]


def has_fts5(connection: sqlite3.Connection) -> bool:
    """Whether this SQLite can search text quickly."""
    return bool(connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0])


def _apply(connection: sqlite3.Connection, step: Migration) -> bool:
    """Run one step and record it; False if another process did so meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if step.__name__ in applied(connection):
            connection.execute("ROLLBACK")
            return False
        connection.execute("CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, time REAL NOT NULL)")
        step(connection)
        connection.execute("INSERT INTO migration VALUES (?, ?)", (step.__name__, time.time()))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return True


def _refuse_newer(path: Path, before: list[str]) -> None:
    unknown = [name for name in before if name not in {step.__name__ for step in MIGRATIONS}]
    if unknown:
        raise UserError(
            f"a newer PET Studio wrote this catalog (it has {unknown[-1]!r})",
            where=str(path),
            hint="update PET Studio, or move the file away and run `pet-studio catalog rebuild`",
        )


def _back_up(connection: sqlite3.Connection, copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as target:
        connection.backup(target)
