"""The dataset library: a folder of stored datasets, each added whole or not at all."""

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from studio.core.errors import InvalidSpecError, UserError
from studio.core.facts import DataFacts
from studio.core.problems import Problem, did_you_mean
from studio.core.progress import CancelCheck, Progress
from studio.datasets.check import check_mapping
from studio.datasets.detect import Detection
from studio.datasets.disk import disk_errors
from studio.datasets.ingest import Ingested, ingest
from studio.datasets.interpret import interpret
from studio.datasets.labels import find_labels
from studio.datasets.lint.check import check_rows
from studio.datasets.lint.finding import Finding
from studio.datasets.lint.mend import keep_usable, write_mended
from studio.datasets.names import checked_name, next_version, slug
from studio.datasets.origin import name_from, name_of, origin_of
from studio.datasets.profile import Profile
from studio.datasets.store import FACTS_FILE, Record, StoredDataset, read_record, write_record

_UNFINISHED = ".adding-"
_REMOVED = ".removed-"
_ABANDONED_S = 3600.0  # an unfinished folder nobody has written to for this long is left over from a kill

FactsList = list[DataFacts]  # inside the class, ``list`` is the method
ProblemList = list[Problem]
FindingList = list[Finding]


class DatasetLibrary:
    """Datasets under ``root``, one folder each."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> FactsList:
        """All readable datasets in the order of their names; ``problems`` tells of the others."""
        return self._read_all()[0]

    def problems(self) -> ProblemList:
        """One problem for each folder that is no readable dataset."""
        return self._read_all()[1]

    def get(self, name: str) -> DataFacts:
        """The dataset of that name."""
        folder = self.root / (slug(name) or "-")
        if (folder / FACTS_FILE).is_file():
            return read_record(folder).facts
        known = [facts.name for facts in self.list()]
        hint = did_you_mean(name, known) or "the library is empty: add a dataset first (pet-studio data add FILE)"
        raise UserError(f"there is no dataset {name!r} in the library", where="data.source", hint=hint)

    def open(self, name: str) -> StoredDataset:
        """The rows of the dataset of that name."""
        return StoredDataset(Path(self.get(name).path))

    def add(
        self,
        path: Path,
        *,
        name: str | None = None,
        license: str = "",
        source: str = "",
        mapping: Mapping[str, str] | None = None,
        format: str = "auto",
        table: str = "",
        leave_out_unusable: bool = False,
        progress: Progress | None = None,
        cancelled: CancelCheck | None = None,
    ) -> DataFacts:
        """Read the file or folder into the library; the original stays as it is.

        ``table`` chooses one of a database with several. ``leave_out_unusable`` drops the rows that cannot be
        learned from, for lack of a label, say. Adding the same rows under the same name again changes nothing;
        other rows under a taken name are an error.
        """
        path = path.expanduser().absolute()
        chosen = checked_name(name) if name is not None else name_from(path, table)
        origin = origin_of(path, table)
        with self._new_folder() as folder:
            ingested = ingest(path, folder, progress, cancelled, table=table)
            detection = interpret(ingested.profile, format, mapping, path.name)
            facts = _facts(chosen, folder, ingested, detection).model_copy(
                update={"license": license, "source": source}
            )
            record = Record(facts=facts, confidence=detection.confidence, reason=detection.reason, origin=origin)
            write_record(folder, record)
            facts = _apply(StoredDataset(folder), detection)
            if not leave_out_unusable:
                return self._publish(folder, facts)
            with self._new_folder() as kept:
                facts = keep_usable(StoredDataset(folder), kept, progress, cancelled)
                return self._publish(kept, facts)

    def update(self, name: str, *, format: str | None = None, mapping: Mapping[str, str] | None = None) -> DataFacts:
        """Change how the dataset is read: its format, its mapping, or both; what is left open is detected."""
        stored = self.open(name)
        profile = Profile()
        for row in stored:
            profile.add(row)
        return _apply(stored, interpret(profile, format or "auto", mapping, name))

    def lint(self, name: str, *, progress: Progress | None = None, cancelled: CancelCheck | None = None) -> FindingList:
        """Everything that is wrong with the rows of the dataset of that name."""
        stored = self.open(name)
        facts = stored.facts
        return check_rows(stored, facts.format, facts.mapping, facts.labels, progress=progress, cancelled=cancelled)

    def mend(
        self,
        name: str,
        findings: Sequence[Finding],
        *,
        new_name: str | None = None,
        progress: Progress | None = None,
        cancelled: CancelCheck | None = None,
    ) -> DataFacts:
        """A new dataset without these faults of the one of that name, which stays as it is.

        ``new_name``: by default the old one with the number of its version.
        """
        stored = self.open(name)
        chosen = checked_name(new_name or next_version(stored.facts.name, [facts.name for facts in self.list()]))
        if not findings:
            raise UserError("there is nothing to mend", where=name, hint="choose at least one kind of fault")
        with self._new_folder() as folder:
            facts = write_mended(stored, findings, folder, progress, cancelled)
            facts = facts.model_copy(update={"name": chosen, "parent": stored.facts.name})
            record = read_record(folder)
            write_record(folder, record.model_copy(update={"facts": facts, "origin": None}))
            read = Detection(facts.format, facts.mapping, record.confidence, record.reason)
            return self._publish(folder, _apply(StoredDataset(folder), read))

    def remove(self, name: str) -> None:
        """Take the dataset out of the library, with its rows."""
        folder = Path(self.get(name).path)
        gone = self.root / f"{_REMOVED}{secrets.token_hex(4)}"
        with disk_errors(folder):
            folder.rename(gone)
            shutil.rmtree(gone)

    def resolve(
        self, source: str, *, progress: Progress | None = None, cancelled: CancelCheck | None = None
    ) -> DataFacts:
        """The dataset that ``library:NAME``, ``path:FILE_OR_FOLDER`` or ``hub:NAME`` means.

        A path is read into the library at its first use and found there while its files stay unchanged.
        """
        scheme, _, rest = source.partition(":")
        match scheme:
            case "library":
                return self.get(rest)
            case "path":
                return self._resolve_path(Path(rest).expanduser().absolute(), progress, cancelled)
            case "hub":
                return self._resolve_hub(source)
        raise UserError(
            f"{source!r} is no data source",
            where="data.source",
            hint="write library:NAME, path:FILE_OR_FOLDER or hub:NAME",
        )

    def _resolve_path(self, path: Path, progress: Progress | None, cancelled: CancelCheck | None) -> DataFacts:
        if (path / FACTS_FILE).is_file():
            return StoredDataset(path).facts
        origin = origin_of(path)
        for facts in self.list():
            if read_record(Path(facts.path)).origin == origin:
                return facts
        name = f"{name_of(path)[:60]}-{origin.signature[:8]}"
        return self.add(path, name=name, source=f"path:{path}", progress=progress, cancelled=cancelled)

    def _resolve_hub(self, source: str) -> DataFacts:
        for facts in self.list():
            if facts.source == source:
                return facts
        raise UserError(
            f"{source} is not in the library; a run never downloads data",
            where="data.source",
            hint=f"download its files, then: pet-studio data add FILE --source {source}",
        )

    def _read_all(self) -> tuple[FactsList, ProblemList]:
        found: FactsList = []
        problems: ProblemList = []
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        for folder in folders:
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            try:
                found.append(read_record(folder).facts)
            except UserError as error:
                problems.append(Problem(error.where, error.message, error.hint))
        return sorted(found, key=lambda facts: facts.name), problems

    @contextmanager
    def _new_folder(self) -> Iterator[Path]:
        """A folder to fill, which is gone after the block unless it was published."""
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            self._clean()
            folder = self.root / f"{_UNFINISHED}{os.getpid()}-{secrets.token_hex(6)}"
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _clean(self) -> None:
        """Delete what an interrupted add or remove has left."""
        for path in self.root.glob(".*-*"):
            if _is_abandoned(path) or path.name.startswith(_REMOVED):
                shutil.rmtree(path, ignore_errors=True)

    def _publish(self, folder: Path, facts: DataFacts) -> DataFacts:
        target = self.root / slug(facts.name)
        if not target.exists():
            try:
                folder.rename(target)
            except OSError:
                if not target.exists():
                    raise
            else:
                return facts.model_copy(update={"path": str(target)})
        present = read_record(target).facts  # also when another process was faster
        if present.fingerprint == facts.fingerprint and present.name == facts.name:
            return present
        raise UserError(
            f"the library already has a dataset {present.name!r} with other rows",
            where="name",
            hint="choose another name, or remove the old one first",
        )


def _facts(name: str, folder: Path, ingested: Ingested, detection: Detection) -> DataFacts:
    return DataFacts(
        name=name,
        path=str(folder),
        rows=ingested.profile.rows,
        columns=tuple(ingested.profile.columns),
        format=detection.format,
        mapping=detection.mapping,
        fingerprint=ingested.fingerprint,
    )


def _apply(stored: StoredDataset, detection: Detection) -> DataFacts:
    """Check the format and mapping against the rows, find the labels and write it all down."""
    label = detection.mapping.get("label") if detection.format == "classification" else None
    labels = find_labels(stored, label) if label in stored.facts.columns else ()
    problems = check_mapping(stored.facts, detection.format, detection.mapping, labels)
    if problems:
        raise InvalidSpecError(problems)
    changes = {"format": detection.format, "mapping": detection.mapping, "labels": labels}
    facts = stored.facts.model_copy(update=changes)
    record = read_record(stored.path)
    reasoned = {"facts": facts, "confidence": detection.confidence, "reason": detection.reason}
    write_record(stored.path, record.model_copy(update=reasoned))
    return facts


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody fills this unfinished folder any more: its process is gone, or was long idle."""
    import psutil

    if not folder.name.startswith(_UNFINISHED):
        return False
    pid = folder.name.removeprefix(_UNFINISHED).partition("-")[0]
    return (pid.isdigit() and not psutil.pid_exists(int(pid))) or _idle_s(folder) > _ABANDONED_S


def _idle_s(folder: Path) -> float:
    try:
        newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:  # it is being published or removed right now
        return 0.0
    return time.time() - newest
