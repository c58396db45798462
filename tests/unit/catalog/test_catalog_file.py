"""The catalog's file: migrations, backups, damage, several processes and threads."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from studio.catalog import migrations
from studio.catalog.connection import find_damage, opened, set_aside
from studio.catalog.ingest import LogPosition, positions
from studio.catalog.migrations import migrate
from studio.catalog.models import DATABASE, TABLES, Run, execute
from studio.catalog.queries import list_rows, load_run
from studio.catalog.records import put_runs
from studio.catalog.rows import RunFilter, RunRecord
from studio.core.errors import MachineError, UserError

STORED = Path(__file__).parent / "stored"


def restore(path: Path, version: str) -> None:
    """A catalog file as that version of the schema left it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((STORED / f"{version}.sql").read_text(encoding="utf-8"))


def test_that_a_new_file_gets_every_migration_once(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    names = [step.__name__ for step in migrations.MIGRATIONS]
    assert migrate(path) == names
    assert migrate(path) == []
    assert list(tmp_path.glob("*before*")) == []


def test_that_the_tables_have_the_columns_that_the_models_name(catalog: Path) -> None:
    for table in TABLES:
        stored = {column.name: column for column in DATABASE.get_columns(table._meta.table_name)}
        fields = {field.column_name: field for field in table._meta.sorted_fields}
        assert stored.keys() == fields.keys()
        for name, field in fields.items():
            assert stored[name].null == field.null, f"{table.__name__}.{name}"


def test_that_a_file_of_the_first_schema_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    restore(path, "m001")
    with opened(path):
        assert [row.name for row in list_rows(RunFilter(text="first"), "created", None, 0)] == ["the first run"]
        stored = load_run("20260101-000000-first-aaaa")
        assert stored is not None
        assert stored.snapshot.state == "completed"
        run = Run.get()
        assert (run.basis, run.driver, run.torch, run.unmetered_s, run.shared) == ("formula", "", "", 0.0, None)
        assert positions()[run.id] == LogPosition("completed", offset=10, log_bytes=0)  # read anew at the next refresh


def add_color(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE run ADD COLUMN color TEXT")


def break_halfway(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE run ADD COLUMN color TEXT")
    connection.execute("INSERT INTO no_such_table VALUES (1)")


def test_that_a_file_is_backed_up_before_it_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.db"
    restore(path, "m001")
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, add_color))
    assert migrate(path)[-1] == "add_color"
    with closing(sqlite3.connect(next(tmp_path.glob("catalog.db.before-*")))) as backup:
        assert backup.execute("SELECT count(*) FROM run").fetchone() == (1,)
        assert "color" not in [row[1] for row in backup.execute("PRAGMA table_info(run)")]


def test_that_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.db"
    restore(path, "m001")
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, break_halfway))
    with pytest.raises(MachineError, match="no_such_table"):
        migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        assert "color" not in [row[1] for row in connection.execute("PRAGMA table_info(run)")]
        assert migrations.applied(connection) == ["m001_runs_and_curves", "m002_what_forecasts_learn_from"]


def test_that_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO migration VALUES ('m999_the_future', 0)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(UserError, match="newer PET Studio") as caught, opened(path):
        pass
    assert "rebuild" in caught.value.hint
    assert path.read_bytes() == before


def test_that_a_damaged_file_is_a_message_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(UserError, match="damaged") as caught, opened(path):
        pass
    assert "catalog rebuild" in caught.value.hint


def test_that_damage_met_while_reading_is_a_message_too(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with opened(path):
        put_runs(RunRecord(f"run-{i}", 1.0, {"name": "x" * 500}) for i in range(200))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="damaged"), opened(path):
        list_rows(RunFilter(), "created", None, 0)


def test_that_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError, match="cannot be created"), opened(tmp_path / "file" / "catalog.db"):
        pass


def test_that_the_check_finds_orphans_and_nothing_in_a_healthy_file(catalog: Path) -> None:
    assert find_damage() == []
    execute("PRAGMA foreign_keys = 0")
    execute("INSERT INTO tag VALUES (77, 'lost')")
    assert find_damage() == ["orphaned row in tag"]


def test_that_a_catalog_set_aside_is_kept_and_a_new_one_made(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with opened(path):
        put_runs([RunRecord("a", 1.0, {"name": "x"})])
    set_aside(path)
    with opened(path):
        assert Run.select().count() == 0
    with opened(tmp_path / "catalog.db.before-rebuild"):
        assert Run.select().count() == 1


def test_that_threads_write_at_the_same_time_without_losing_anything(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    failures: list[Exception] = []

    def write(thread: int) -> None:
        try:
            for number in range(20):
                with opened(path):
                    put_runs([RunRecord(f"{thread}-{number}", 1.0, {"name": "x"})])
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with opened(path):
        assert Run.select().count() == 80
