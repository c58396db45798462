"""Keeping the catalog in step with the run folders, which are the truth."""

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from studio.catalog.connection import find_damage, opened, set_aside
from studio.catalog.ingest import LogPosition, ingest, positions, reset
from studio.catalog.records import put_runs, remove_runs
from studio.catalog.rows import Labels, RunRecord
from studio.core.errors import UserError
from studio.core.paths import Home, home
from studio.core.problems import Problem
from studio.core.progress import Progress
from studio.core.state import ACTIVE
from studio.rundir.layout import RunFolder, read_json
from studio.rundir.lock import is_alive
from studio.rundir.log import read_events
from studio.service.run_labels import read_labels

WINDOWS_START_S = 20.0  # a worker there takes its lock itself, some seconds after its launch


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild found: runs indexed, and folders that could not be read."""

    runs: int
    problems: tuple[Problem, ...]


def refresh(progress: Progress | None = None) -> set[str]:
    """Bring the catalog up to date; ids of the runs that changed, appeared or vanished."""
    place = home()
    with opened(place.catalog):
        folders = run_folders(place)
        changed = _register(place, folders)
        known = positions()
        for number, (run_id, position) in enumerate(known.items()):
            if run_id in folders and _catch_up(folders[run_id], position):
                changed.add(run_id)
            if progress and number % 20 == 0:
                progress("reading event logs", number / len(known))
    return changed


def refresh_one(run_id: str) -> None:
    """Bring one run up to date."""
    place = home()
    folder = RunFolder(place.runs / run_id)
    with opened(place.catalog):
        position = positions(run_id).get(run_id)
        if position is None and folder.spec.exists():
            put_runs(_read_records([folder])[0])
            position = positions(run_id).get(run_id)
        if position is not None and folder.path.is_dir():
            _catch_up(folder, position)


def rebuild(progress: Progress | None = None) -> Rebuilt:
    """Make the catalog anew from the run folders; what a person wrote about a run is kept there, so it stays."""
    place = home()
    _, problems = _read_records(run_folders(place).values())
    set_aside(place.catalog)
    refresh(progress)
    with opened(place.catalog):
        return Rebuilt(len(positions()), tuple(problems))


def check() -> list[Problem]:
    """What is wrong with the catalog or the run folders, changing nothing but what a refresh does."""
    _, problems = _read_records(run_folders(home()).values())
    return [*_damage(), *problems]


def run_folders(place: Home) -> dict[str, RunFolder]:
    """Every run folder by run id; half-written ones begin with a dot and are left out."""
    try:
        with os.scandir(place.runs) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except FileNotFoundError:
        return {}
    return {name: RunFolder(place.runs / name) for name in names}


def _read_record(folder: RunFolder, labels: Labels) -> RunRecord:
    """The unchanging part of a run folder.

    Raises:
        UserError: a file in it is missing or damaged.
    """
    spec = read_json(folder.spec)
    if not isinstance(spec, dict):
        raise UserError("is no spec", where=str(folder.spec), hint="the run cannot be read; delete it")
    created = labels.created if labels.created is not None else _created(folder)
    return RunRecord(folder.id, created, spec, _optional(folder.plan), _optional(folder.estimate), labels)


def _damage() -> list[Problem]:
    try:
        refresh()
        with opened(home().catalog):
            return [Problem("catalog", line, "run `pet-studio catalog rebuild`") for line in find_damage()]
    except UserError as error:
        return [Problem(error.where, error.message, error.hint)]


def _register(place: Home, folders: dict[str, RunFolder]) -> set[str]:
    known = positions().keys()
    records, _ = _read_records(folder for run_id, folder in folders.items() if run_id not in known)
    gone = known - folders.keys() if place.runs.is_dir() else set()
    if records:
        put_runs(records)
    if gone:
        remove_runs(gone)
    return {record.id for record in records} | gone


def _read_records(folders: Iterable[RunFolder]) -> tuple[list[RunRecord], list[Problem]]:
    """What can be read of each folder; a run whose labels are damaged is listed without them."""
    records: list[RunRecord] = []
    problems: list[Problem] = []
    for folder in folders:
        labels = Labels()
        try:
            labels = read_labels(folder)
        except UserError as error:
            problems.append(Problem(error.where, error.message, error.hint))
        try:
            records.append(_read_record(folder, labels))
        except UserError as error:
            problems.append(Problem(error.where, error.message, error.hint))
    return records, problems


def _catch_up(folder: RunFolder, position: LogPosition) -> bool:
    """Ingest what the log has since; whether the run changed."""
    unsettled = position.state in ACTIVE or position.state in ("draft", "queued")
    died = unsettled and _died(folder)  # asked before reading: whatever a dead worker wrote is in the log by now
    size = _size(folder.events)
    if size == position.log_bytes and not died:
        return False
    offset = position.offset
    if size < offset:
        reset(folder.id)
        offset = 0
    while True:
        events, end = read_events(folder.events, offset)
        versions = _versions(folder)
        if not ingest(folder.id, events, start=offset, end=end, log_bytes=size, died=died, versions=versions):
            return True  # another process is at it
        if end in (offset, size):
            return True
        offset = end


def _died(folder: RunFolder) -> bool:
    try:
        launched = folder.worker.stat().st_mtime
    except FileNotFoundError:
        return False
    if os.name == "nt" and time.time() - launched < WINDOWS_START_S:
        return False
    return not is_alive(folder.path)


def _versions(folder: RunFolder) -> dict[str, str]:
    """What the worker has written about itself by now, as far as the catalog keeps it; nothing if that is damaged."""
    try:
        worker = _optional(folder.worker) or {}
    except UserError:
        return {}  # the run itself can be read without
    return {name: str(worker[name]) for name in ("torch", "driver") if name in worker}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _created(folder: RunFolder) -> float:
    """The UTC time that begins the run id, else when the spec was written."""
    stamp = re.match(r"\d{8}-\d{6}(?=-|$)", folder.id)
    if stamp:
        try:
            return datetime.strptime(stamp[0], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
        except ValueError:
            pass  # digits that are no date: a name somebody chose
    return folder.spec.stat().st_mtime


def _optional(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    content = read_json(path)
    return content if isinstance(content, dict) else None
