"""How commands speak: tables and JSON on stdout, problems and progress on stderr, untrusted text made harmless."""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer
from pydantic import BaseModel

from studio.core.errors import UserError
from studio.core.problems import Problem
from studio.core.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 400  # of tables that are not read on a screen: nothing is cut


def plain(value: object) -> str:
    """The value as one harmless line: control characters and terminal escapes are shown, not obeyed."""
    if value is None:
        return "-"
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def say(text: str) -> None:
    """One line on stdout."""
    print(plain(text), flush=True)


def warn(text: str) -> None:
    """Text on stderr, line by line."""
    for line in text.splitlines():
        print(plain(line), file=sys.stderr, flush=True)


def warn_of(problems: Iterable[Problem]) -> None:
    """Each problem as a line on stderr."""
    for problem in problems:
        warn(f"{problem.severity}: {problem}")


def print_json(value: Any) -> None:
    """The value as JSON; numbers that JSON does not know become null."""
    print(json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def to_plain(value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """Dictionaries, lists and scalars for dataclasses, models, paths and tuples."""
    if isinstance(value, BaseModel):
        return to_plain(value.model_dump(mode="python"))
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "", spare: Sequence[str] = ()
) -> None:
    """A table on stdout; ``>`` before a column's name aligns it right.

    ``empty`` is said if there are no rows; ``spare`` columns are left out one by one, as far as the screen is too
    narrow for all.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    listed = [[plain(cell) for cell in row] for row in rows]
    if not listed and empty:
        warn(empty)
        return
    out = console(sys.stdout)
    kept = _columns_that_fit([column.lstrip(">") for column in columns], listed, spare, out.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in (columns[index] for index in kept):
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in listed:
        table.add_row(*(Text(row[index]) for index in kept))
    out.print(table)


def _columns_that_fit(
    titles: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str], width: int
) -> list[int]:
    from rich.cells import cell_len

    gap = 3
    widths = [max(map(cell_len, (title, *(row[at] for row in rows)))) + gap for at, title in enumerate(titles)]
    kept = list(range(len(titles)))
    for title in spare:
        if sum(widths[at] for at in kept) - gap > width:
            kept.remove(titles.index(title))
    return kept


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, one pair a line, values aligned."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {plain(value)}")


def console(stream: IO[str]) -> "Console":
    """A console that never interprets text as markup, as wide as the screen or, in a pipe, as needed."""
    from rich.console import Console

    return Console(
        file=stream, markup=False, emoji=False, highlight=False, width=None if stream.isatty() else PIPE_WIDTH
    )


def confirm(question: str, yes: bool) -> None:
    """Ask before something irreversible; UserError if the answer is no or nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nobody is there to answer.", hint="add --yes")
    if not typer.confirm(plain(question), err=True):
        raise UserError("nothing was changed")


@contextmanager
def progress_line() -> Iterator[Progress]:
    """Progress of one long step on stderr: a bar on a terminal, else a line for each phase."""
    if not sys.stderr.isatty():
        yield _phase_lines()
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(phase: str, fraction: float | None) -> None:
            bar.update(task, description=plain(phase), total=None if fraction is None else 1.0, completed=fraction or 0)

        yield show


def never_cancelled() -> bool:
    """Ctrl-C interrupts a command where it is; nothing else cancels it."""
    return False


def output_file(out: Path | None, name: str) -> Path:
    """Where a command writes ``name``: in the folder ``--out`` (made if needed), or the current one."""
    folder = out or Path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be made: {error.strerror}", where=str(folder), hint="choose another --out") from error
    return folder / name


def _phase_lines() -> Progress:
    shown = ""

    def show(phase: str, fraction: float | None) -> None:
        nonlocal shown
        if phase != shown:
            shown = phase
            warn(phase)

    return show
