"""The catalog of runs as the window and the command line use it; nothing of the database shows through."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.catalog.rows import RunFilter, RunRow
from studio.core.errors import MachineError, UserError
from studio.core.events import Event
from studio.core.paths import home
from studio.core.problems import Problem, did_you_mean
from studio.rundir.layout import DELETED, RunFolder
from studio.rundir.lock import is_alive
from studio.rundir.log import read_events

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from studio.core.progress import Progress
    from studio.service.run_index import Rebuilt
    from studio.service.run_report import Comparison

__all__ = ["RunFilter", "RunRow"]

# The catalog is imported inside the functions: the window must start without the database library.


def refresh(progress: "Progress | None" = None) -> set[str]:
    """Read what the run folders have new into the catalog; ids of runs that changed. Cheap when nothing did."""
    from studio.service import run_index

    return run_index.refresh(progress)


def list_runs(
    wanted: RunFilter | None = None, *, sort: str = "-created", limit: int | None = None, offset: int = 0
) -> list[RunRow]:
    """One page of runs. ``sort`` is a field of ``RunRow``, "duration", "progress" or "metric:NAME"; "-": descending."""
    from studio.catalog import connection, queries

    with connection.opened(home().catalog):
        return queries.list_rows(wanted or RunFilter(), sort, limit, offset)


def count_runs(wanted: RunFilter | None = None) -> int:
    """How many runs the filter lets through."""
    from studio.catalog import connection, queries

    with connection.opened(home().catalog):
        return queries.count_rows(wanted or RunFilter())


def find_run(text: str) -> RunRow:
    """The run with that id, unique beginning of an id, or name; "last" is the newest.

    Raises:
        UserError: none or several match; lists them.
    """
    from studio.catalog import connection, queries

    refresh()
    with connection.opened(home().catalog):
        if text == "last":
            rows = queries.list_rows(RunFilter(), "-created", 1, 0)
        else:
            rows = queries.find_rows(text) if text else []
        if not rows:
            everything = queries.list_rows(RunFilter(), "-created", 200, 0)
            known = [name for row in everything for name in (row.name, row.id)]
            raise UserError(f"there is no run {text!r}", hint=did_you_mean(text, known, listing=6))
    if len(rows) > 1:
        listed = "".join(f"\n    {row.id}  {row.name}" for row in rows[:10])
        raise UserError(f"{len(rows)} runs match {text!r}", hint=f"use more of the id of one of them:{listed}")
    return rows[0]


def show_run(run_id: str) -> dict[str, Any]:
    """Everything about one run as plain data, the fields of ``pet-studio runs show``."""
    from studio.service import run_report

    return run_report.show_run(run_id)


def curve(run_id: str, metric: str) -> "tuple[NDArray[Any], NDArray[Any]]":
    """Steps and values of one metric as float64 arrays; empty if the run has none."""
    from studio.catalog import connection, queries

    with connection.opened(home().catalog):
        return queries.read_curve(run_id, metric)


def metric_names(run_id: str) -> list[str]:
    """The metrics of a run that have a curve."""
    from studio.catalog import connection, queries

    with connection.opened(home().catalog):
        return queries.metric_names(run_id)


def compare(run_ids: Sequence[str]) -> "Comparison":
    """What differs in the configuration of runs, and their metrics side by side."""
    from studio.service import run_report

    return run_report.compare(run_ids)


def export_curves(run_id: str, path: Path) -> int:
    """Write a run's curves as CSV; the number of lines."""
    from studio.service import run_report

    return run_report.export_curves(run_id, path)


def all_tags() -> dict[str, int]:
    """Every tag in use with its number of runs."""
    from studio.catalog import connection, queries

    with connection.opened(home().catalog):
        return queries.tag_counts()


def tag(run_id: str, *tags: str) -> None:
    """Add tags to a run."""
    from studio.service.run_labels import checked_tag, edit_labels

    added = [checked_tag(text) for text in tags]
    edit_labels(run_id, lambda before: {"tags": tuple(dict.fromkeys([*before.tags, *added]))})


def untag(run_id: str, *tags: str) -> None:
    """Take tags off a run; those it does not have are left alone."""
    from studio.service.run_labels import edit_labels

    edit_labels(run_id, lambda before: {"tags": tuple(text for text in before.tags if text not in tags)})


def note(run_id: str, text: str) -> None:
    """Replace a run's notes."""
    from studio.service.run_labels import edit_labels

    edit_labels(run_id, lambda _: {"notes": text})


def rename(run_id: str, name: str) -> None:
    """Give a run another name; its id and spec stay."""
    from studio.service.run_labels import checked_name, edit_labels

    cleaned = checked_name(name)
    edit_labels(run_id, lambda _: {"name": cleaned})


def star(run_id: str, on: bool = True) -> None:
    """Mark a run as a favourite, or no more."""
    from studio.service.run_labels import edit_labels

    edit_labels(run_id, lambda _: {"star": on})


def trash(run_id: str) -> None:
    """Hide a run that is not active; ``restore`` brings it back."""
    from studio.service.run_labels import edit_labels

    _refuse_active(run_id)
    now = time.time()
    edit_labels(run_id, lambda _: {"trashed": now})


def restore(run_id: str) -> None:
    """Bring a run back from the trash."""
    from studio.service.run_labels import edit_labels

    edit_labels(run_id, lambda _: {"trashed": None})


def delete(run_id: str) -> None:
    """Remove a run that is not active with all its files, for good.

    Raises:
        UserError: there is no such run, or a worker holds it.
        MachineError: the folder cannot be removed.
    """
    folder = _refuse_active(run_id)
    doomed = folder.path.with_name(f"{DELETED}{run_id}")
    try:
        folder.path.rename(doomed)  # at once: half a run folder would look like a damaged run
        shutil.rmtree(doomed)
    except OSError as error:
        raise MachineError(
            f"the run cannot be removed: {error.strerror or error}",
            where=str(folder.path),
            hint="check the permissions of the folder",
        ) from error
    refresh()


def rebuild(progress: "Progress | None" = None) -> "Rebuilt":
    """Recreate the catalog from the run folders."""
    from studio.service import run_index

    return run_index.rebuild(progress)


def check() -> list[Problem]:
    """What is wrong with the catalog or with run folders."""
    from studio.service import run_index

    return run_index.check()


def watch(
    run_id: str, *, offset: int = 0, interval_s: float = 0.25, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """The run's events from a byte offset of its log on, as they come, until no worker holds it."""
    folder = RunFolder(home().runs / run_id)
    while not stopped():
        alive = is_alive(folder.path)  # asked first: a worker's last words are in the log when it is gone
        events, after = read_events(folder.events, offset)
        yield from events
        if after == offset:
            if not alive:
                return
            time.sleep(interval_s)
        offset = after


def _refuse_active(run_id: str) -> RunFolder:
    folder = RunFolder(home().runs / run_id)
    if not folder.path.is_dir():
        raise UserError(f"there is no run {run_id!r}", hint="see `pet-studio runs list`")
    if is_alive(folder.path):
        raise UserError("the run is active", where=run_id, hint=f"stop it first: pet-studio runs stop {run_id}")
    return folder
