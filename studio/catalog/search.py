"""Text search over what people remember of a run: name, notes, tags, model, data, method, error."""

import re
from typing import Any

from peewee import SQL

from studio.catalog.models import Run, Tag, execute, tuples


def index_run(key: int, *, gone: bool = False) -> None:
    """Bring the text index of one run up to date, or take it out."""
    if not _indexed():
        return
    execute("DELETE FROM run_search WHERE rowid = ?", key)
    if gone:
        return
    run = Run.select(Run.name, Run.notes, Run.model, Run.data, Run.method, Run.error, Run.id).where(Run.key == key)
    tags = " ".join(tag for (tag,) in tuples(Tag.select(Tag.tag).where(Tag.run == key)))
    execute(
        "INSERT INTO run_search (rowid, name, notes, model, data, method, error, id, tags)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        key, *tuples(run)[0], tags,
    )  # fmt: skip


def matching(text: str) -> Any:
    """A condition on ``Run``: every word of the text begins a word of the run. None if there is no word."""
    words = re.findall(r"\w+", text)
    if not words:
        return None
    if _indexed():
        query = " ".join(f'"{word}"*' for word in words)
        return Run.key.in_(SQL("(SELECT rowid FROM run_search WHERE run_search MATCH ?)", (query,)))
    condition: Any = None
    for word in words:
        found = _contains(word)
        condition = found if condition is None else condition & found
    return condition


def _contains(word: str) -> Any:
    """The slower condition for a SQLite without a text index: the word stands anywhere."""
    tagged = Tag.select(Tag.run).where(Tag.tag.contains(word))
    columns = (Run.name, Run.notes, Run.model, Run.data, Run.method, Run.error, Run.id)
    condition: Any = Run.key.in_(tagged)
    for column in columns:
        condition = condition | column.contains(word)
    return condition


def _indexed() -> bool:
    return bool(execute("SELECT 1 FROM sqlite_master WHERE name = 'run_search'"))
