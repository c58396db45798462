"""SQLite databases: which table is read, what is refused, and that the user's folder stays as it was."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import Cancelled, UserError
from studio.datasets import sqlite_rows
from studio.datasets.library import DatasetLibrary
from studio.datasets.progress import Meter
from studio.datasets.readers import find_files, read_rows

REVIEWS = "CREATE TABLE reviews (body TEXT, stars INTEGER); INSERT INTO reviews VALUES ('good', 5), (NULL, 1);"
ROWS: list[dict[str, Any]] = [{"body": "good", "stars": 5}, {"body": None, "stars": 1}]


@pytest.fixture
def database(tmp_path: Path) -> Callable[..., Path]:
    def make(script: str, name: str = "a.db") -> Path:
        path = tmp_path / "given" / name
        path.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        return path

    return make


def read(path: Path, table: str = "") -> list[dict[str, Any]]:
    return list(read_rows(find_files(path), Meter("reading", 1, None, None), path.parent, table))


def refusal(path: Path, table: str = "") -> UserError:
    with pytest.raises(UserError) as caught:
        read(path, table)
    assert caught.value.hint
    assert caught.value.where.startswith(path.name)
    return caught.value


@pytest.mark.parametrize("name", ["a.db", "a.sqlite", "a.SQLITE3", "50% #1?.db"])
def test_that_the_only_table_is_read(database: Callable[..., Path], name: str) -> None:
    assert read(database(REVIEWS, name)) == ROWS


def test_that_a_view_is_read_and_one_of_several_is_chosen_by_name(database: Callable[..., Path]) -> None:
    path = database(REVIEWS + 'CREATE VIEW "best "" of" AS SELECT body FROM reviews WHERE stars > 3;')
    error = refusal(path)
    assert "2 tables and views: 'best \" of', 'reviews'" in error.message
    assert "data add a.db --table NAME" in error.hint
    assert read(path, 'best " of') == [{"body": "good"}]
    assert read(path, "reviews") == ROWS
    assert "'reviews'" in refusal(path, "review").hint


def test_that_tables_of_sqlite_itself_and_of_a_search_index_are_not_offered(database: Callable[..., Path]) -> None:
    index = "CREATE VIRTUAL TABLE words USING fts5(body); CREATE TABLE s (id INTEGER PRIMARY KEY AUTOINCREMENT);"
    assert read(database(REVIEWS + index + "DROP TABLE s; ANALYZE;")) == ROWS
    assert "virtual" in refusal(database("CREATE VIRTUAL TABLE words USING fts5(body);", "b.db")).message
    assert "no tables" in refusal(database("CREATE TABLE t (a); DROP TABLE t;", "c.db")).message


def test_that_nothing_is_left_beside_a_database_with_a_log(database: Callable[..., Path]) -> None:
    path = database("PRAGMA journal_mode = WAL;" + REVIEWS)
    assert read(path) == ROWS
    assert [file.name for file in path.parent.iterdir()] == ["a.db"]


@pytest.mark.parametrize(("mode", "log"), [("WAL", "-wal"), ("DELETE", "-journal")])
def test_that_a_database_copied_while_it_was_written_is_refused_and_left_alone(
    database: Callable[..., Path], tmp_path: Path, mode: str, log: str
) -> None:
    path = database(f"PRAGMA journal_mode = {mode}; {REVIEWS}")
    copies = [tmp_path / "copy" / name for name in ("a.db", f"a.db{log}")]
    copies[0].parent.mkdir()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN IMMEDIATE")
        writer.executemany("INSERT INTO reviews VALUES (?, 1)", [("x" * 3000,)] * 50)
        for copy in copies:
            copy.write_bytes(path.with_name(copy.name).read_bytes())
    assert "open it once" in refusal(copies[0]).hint
    assert sorted(copies[0].parent.iterdir()) == copies


def test_that_rows_still_in_the_log_are_read_and_count_as_a_change(
    database: Callable[..., Path], library: DatasetLibrary
) -> None:
    path = database("PRAGMA journal_mode = WAL;" + REVIEWS)
    first = library.resolve(f"path:{path}")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO reviews VALUES ('late', 3)")
        writer.commit()
        second = library.resolve(f"path:{path}")
    assert (first.rows, second.rows) == (2, 3)


def test_that_a_database_being_written_is_refused_with_what_to_do(
    database: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = database(REVIEWS)
    monkeypatch.setattr(sqlite_rows, "_TIMEOUT_S", 0.01)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert "close the program" in refusal(path).hint


@pytest.mark.parametrize(
    ("value", "said"), [("x'00ff'", "binary data"), ("CAST(x'ff41' AS TEXT)", "not UTF-8"), ("zeroblob(9)", "binary")]
)
def test_that_what_is_no_text_is_named_by_column_and_row(database: Callable[..., Path], value: str, said: str) -> None:
    error = refusal(database(REVIEWS + f"INSERT INTO reviews VALUES ({value}, 1);"))
    assert said in error.message
    assert "'body'" in error.message
    assert error.where == "a.db: table 'reviews', row 3"


@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "SELECT load_extension('evil.so') AS x",
        "SELECT hex(zeroblob(60000000)) AS x",
        "SELECT group_concat(a.body || b.body || c.body) FROM big a, big b, big c, big d, big e",
    ],
)
def test_that_a_hostile_view_is_stopped(
    database: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(sqlite_rows, "MAX_WAIT_S", 0.2)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT i FROM n"
    path = database(f"CREATE TABLE big (body); INSERT INTO big {numbers}; CREATE VIEW v AS {query};")
    refusal(path, "v")


def test_that_a_view_without_an_end_is_stopped(database: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_rows, "MIB", 1)
    monkeypatch.setattr(sqlite_rows, "MAX_EXPANSION", 1)
    rows = "INSERT INTO big VALUES " + ", ".join(["('some words')"] * 60)
    path = database(f"CREATE TABLE big (body); {rows}; CREATE VIEW v AS SELECT a.body FROM big a, big b, big c;")
    assert "times the size" in refusal(path, "v").message


def test_that_a_query_is_cancelled_between_rows(database: Callable[..., Path]) -> None:
    rows = "INSERT INTO big VALUES " + ", ".join(["('some words')"] * 900)
    path = database(f"CREATE TABLE big (body); {rows}; CREATE VIEW v AS SELECT count(*) FROM big a, big b, big c;")
    with pytest.raises(Cancelled):
        list(read_rows([path], Meter("reading", 1, None, lambda: True), path.parent, "v"))


def test_that_triggers_and_a_schema_full_of_commands_are_never_run(database: Callable[..., Path]) -> None:
    path = database(REVIEWS + "CREATE TRIGGER t AFTER INSERT ON reviews BEGIN DELETE FROM reviews; END;")
    before = path.read_bytes()
    assert read(path) == ROWS
    assert path.read_bytes() == before


def test_that_no_database_and_a_torn_one_are_refused(database: Callable[..., Path], tmp_path: Path) -> None:
    whole = database(REVIEWS + "INSERT INTO reviews SELECT hex(randomblob(3000)), 1 FROM reviews;").read_bytes()
    torn = tmp_path / "torn.db"
    torn.write_bytes(whole[: len(whole) // 2])
    assert "SQLite" in refusal(torn).message
    torn.write_bytes(b"not a database" * 20)
    assert "no SQLite database" in refusal(torn).message
    torn.write_bytes(whole[:50])
    assert "no SQLite database" in refusal(torn).message


def test_that_a_table_is_remembered_with_the_dataset(database: Callable[..., Path], library: DatasetLibrary) -> None:
    path = database(REVIEWS + "CREATE TABLE notes (text); INSERT INTO notes VALUES ('a note');")
    facts = library.add(path, table="notes")
    assert (facts.name, facts.rows) == ("a-notes", 1)
    assert library.add(path, table="notes") == facts
    assert library.add(path, table="reviews").name == "a-reviews"
    with pytest.raises(UserError, match="2 tables"):
        library.resolve(f"path:{path}")


def test_that_a_table_of_a_file_without_tables_is_refused(write: Callable[..., Path]) -> None:
    assert "leave the table out" in refusal(write("a.csv", "a\n1\n"), "t").hint
