"""Opening the catalog file: once per thread for as long as it is needed, always migrated."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peewee import DatabaseError, OperationalError

from studio.catalog.migrations import migrate
from studio.catalog.models import DATABASE, execute
from studio.core.errors import MachineError, UserError

_depth = threading.local()
_opening = threading.Lock()
_migrated: set[Path] = set()


@contextmanager
def opened(path: Path) -> Iterator[None]:
    """The catalog at ``path`` for the statements inside; may be nested, and used from several threads.

    Raises:
        UserError: a newer studio wrote it, or it is damaged.
        MachineError: the disk does not let us.
    """
    if getattr(_depth, "count", 0):
        yield
        return
    _prepare(path)
    try:
        DATABASE.connect()
        _depth.count = 1
        yield
    except OperationalError as error:
        raise MachineError(
            f"the catalog cannot be used: {_cause(error)}",
            where=str(path),
            hint="free some space or check the permissions, then try again",
        ) from error
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise  # a broken constraint or statement is our fault, not the file's
        raise UserError(
            f"the catalog is damaged: {error}",
            where=str(path),
            hint="run `pet-studio catalog rebuild`: it is recreated from the run folders",
        ) from error
    finally:
        _depth.count = 0
        DATABASE.close()


def _cause(error: BaseException) -> BaseException:
    """The first of a chain of failures: a rollback that fails too would hide that the disk is full."""
    earlier = error.__context__
    return _cause(earlier) if isinstance(earlier, DatabaseError | sqlite3.Error) else error


def find_damage() -> list[str]:
    """What SQLite finds wrong with the open catalog, one line each; empty if nothing."""
    findings = [str(row[0]) for row in execute("PRAGMA integrity_check")]
    orphans = execute("PRAGMA foreign_key_check")
    return [line for line in findings if line != "ok"] + [f"orphaned row in {row[0]}" for row in orphans]


def set_aside(path: Path) -> None:
    """Rename the catalog to ``….before-rebuild`` with its journal files; the next opening makes a new one.

    Raises:
        MachineError: another program holds the file.
    """
    with _opening:
        _migrated.discard(path)
        try:
            for suffix in ("", "-wal", "-shm"):
                kept = path.with_name(f"{path.name}.before-rebuild{suffix}")
                kept.unlink(missing_ok=True)
                if path.with_name(path.name + suffix).exists():
                    path.with_name(path.name + suffix).rename(kept)
        except OSError as error:
            raise MachineError(
                f"the catalog cannot be set aside: {error.strerror or error}",
                where=str(path),
                hint="close the other windows of PET Studio and check the permissions, then try again",
            ) from error


def _prepare(path: Path) -> None:
    with _opening:
        if path not in _migrated or not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MachineError(f"cannot be created: {error.strerror}", where=str(path.parent)) from error
            migrate(path)
            _migrated.add(path)
        if DATABASE.database != str(path):
            DATABASE.init(str(path))
