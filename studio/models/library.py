"""The models at hand: one folder each, with a record and, unless the model lies elsewhere, its files."""

import builtins
import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import MachineError, UserError, refused
from studio.core.facts import ModelFacts
from studio.core.problems import Problem, did_you_mean
from studio.core.progress import CancelCheck, Progress, ignore_progress, never
from studio.models.config import read_config
from studio.models.entry import (
    MAX_NAME_CHARS,
    RECORD,
    ModelEntry,
    checked_name,
    read_entry,
    slug_of,
    write_entry,
)
from studio.models.files import copy_model
from studio.models.inspect import inspect_model
from studio.models.sites import notice

_ADDING, _REMOVING = ".adding-", ".removing-"


class ModelLibrary:
    """The base models that runs can name as ``library:NAME``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> builtins.list[ModelFacts]:
        """Every model, by name; damaged entries are left to ``problems``."""
        return [entry.facts for entry in self.entries()]

    def entries(self) -> tuple[ModelEntry, ...]:
        """Every readable record, by name."""
        entries = []
        for folder in self._folders():
            with contextlib.suppress(UserError):  # ``problems`` reports it
                entries.append(read_entry(folder))
        return tuple(sorted(entries, key=lambda entry: entry.facts.name.lower()))

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the library: damaged records, models whose files are gone, warnings about models."""
        return tuple(problem for folder in self._folders() for problem in _problems(folder))

    def get(self, name: str) -> ModelFacts:
        """The model of that name; UserError with the closest names if there is none."""
        return self.entry(name).facts

    def entry(self, name: str) -> ModelEntry:
        """The record of the model ``name``."""
        folder = self.root / slug_of(name)
        if (folder / RECORD).is_file():
            return read_entry(folder)
        known = [facts.name for facts in self.list()]
        hint = did_you_mean(name, known) or "the library is empty: add a model first"
        raise UserError(f"there is no model {name!r} in the library", where="model", hint=hint)

    def add(
        self,
        path: Path,
        *,
        name: str | None = None,
        license: str = "",
        source: str = "",
        copy: bool = False,
        progress: Progress | None = None,
        cancelled: CancelCheck | None = None,
    ) -> ModelFacts:
        """Add a model folder or a GGUF file and return its facts.

        A folder stays where it is unless ``copy``; a GGUF file is converted, once, into the library. Adding the
        same model under the same name again changes nothing. After an error or a cancel nothing is left behind.
        """
        path = path.expanduser().absolute()
        progress, cancelled = progress or ignore_progress, cancelled or never
        if path.is_file() and path.suffix.lower() == ".gguf":
            return self._convert(path, _name(name, path.stem), license, source, progress, cancelled)
        facts = inspect_model(path, _name(name, default_name(path)))
        entry = _entry(facts, path, source or f"path:{path}", license, owned=copy)
        if (existing := self._existing(entry)) is not None:
            return existing
        with self._new_folder(facts.name) as folder:
            if copy:
                copy_model(path, folder, progress, cancelled)
            write_entry(folder, entry)
        return self.get(facts.name)

    def adopt(self, folder: Path, *, name: str, source: str, revision: str = "") -> ModelFacts:
        """Move the model ``folder`` into the library, for instance a finished download."""
        facts = inspect_model(folder, checked_name(name))
        entry = _entry(facts, folder, source, "", owned=True).model_copy(update={"revision": revision})
        if (existing := self._existing(entry)) is not None:
            shutil.rmtree(folder)
            return existing
        self.check_free(name)
        write_entry(folder, entry)
        self._publish(folder, name)
        return self.get(name)

    def has(self, name: str) -> bool:
        """Whether ``name`` is taken."""
        return (self.root / slug_of(name)).exists()

    def check_free(self, name: str) -> None:
        """UserError if ``name`` is taken."""
        if self.has(name):
            raise UserError(
                f"the library already has a model {name!r}", where="name", hint="choose another name or remove that one"
            )

    def remove(self, name: str) -> None:
        """Take the model ``name`` out; files that the library does not own stay where they are."""
        folder = self.root / slug_of(name)
        if not folder.is_dir():
            self.entry(name)  # raises with the closest names
        doomed = self.root / f"{_REMOVING}{secrets.token_hex(6)}"
        folder.rename(doomed)
        shutil.rmtree(doomed)

    def resolve(self, source: str) -> ModelFacts:
        """The model that a spec's source names: ``library:NAME``, ``path:DIR_OR_GGUF`` or ``hub:ORG/NAME@REVISION``."""
        scheme, _, rest = source.partition(":")
        if scheme == "library":
            return self._present(self.get(rest))
        if scheme == "path":
            return self._at_path(Path(rest).expanduser().absolute())
        if scheme == "hub":
            return self._present(self._from_hub(rest))
        raise UserError(
            f"{source!r} names no model",
            where="model.source",
            hint="write library:NAME, path:DIR_OR_GGUF or hub:ORG/NAME@REVISION",
        )

    def _at_path(self, path: Path) -> ModelFacts:
        if path.suffix.lower() != ".gguf" or not path.is_file():
            return inspect_model(path)
        for entry in self.entries():
            if entry.source == f"gguf:{path}":
                return self._present(entry.facts)
        raise UserError(
            "a GGUF file is converted once before it can be tuned",
            where=str(path),
            hint=f"add it to the library first: pet-studio models add {path}",
        )

    def _from_hub(self, wanted: str) -> ModelFacts:
        repo, _, revision = wanted.partition("@")
        found = [entry for entry in self.entries() if _is_download(entry, repo, revision)]
        if found:
            return max(found, key=lambda entry: entry.added).facts
        raise UserError(
            f"{wanted!r} has not been downloaded",
            where="model.source",
            hint=f"download it on the Models screen or with: pet-studio models download hub:{wanted}",
        )

    def _present(self, facts: ModelFacts) -> ModelFacts:
        if not (Path(facts.path) / "config.json").is_file():
            raise UserError(
                f"the files of {facts.name!r} are gone", where=facts.path, hint="put them back or remove the model"
            )
        return facts

    def _convert(
        self, file: Path, name: str, license: str, source: str, progress: Progress, cancelled: CancelCheck
    ) -> ModelFacts:
        from studio.models.child import run_child
        from studio.models.gguf_header import read_gguf

        for known in self.entries():
            if known.source == (source or f"gguf:{file}") and known.facts.name == name:
                return known.facts
        read_gguf(file)  # a file that is none is refused at once, before PyTorch is started for it
        with self._new_folder(name) as folder:
            arguments = [str(file), str(folder)]
            offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
            result = run_child(
                "studio.worker.convert", arguments, environment=offline, progress=progress, cancelled=cancelled
            )
            facts = inspect_model(folder, name)
            license = license or str(result["license"])
            entry = _entry(facts, folder, source or f"gguf:{file}", license, owned=True)
            warnings = (*entry.warnings, *(str(warning) for warning in result["warnings"]))
            write_entry(folder, entry.model_copy(update={"warnings": warnings}))
        return self.get(name)

    def _existing(self, entry: ModelEntry) -> ModelFacts | None:
        """The facts of an equal model that already has this name, if there is one."""
        folder = self.root / slug_of(entry.facts.name)
        if not (folder / RECORD).is_file():
            return None
        known = read_entry(folder)
        same = known.facts.fingerprint == entry.facts.fingerprint and known.source == entry.source
        return known.facts if same and known.owned == entry.owned else None

    @contextlib.contextmanager
    def _new_folder(self, name: str) -> Iterator[Path]:
        """A folder to fill; it becomes the model's when the block ends well and disappears when it does not."""
        self.check_free(name)
        self._sweep()
        folder = self.root / f"{_ADDING}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            folder.mkdir(parents=True)
            yield folder
            self._publish(folder, name)
        except OSError as error:
            raise refused(error, self.root) or error from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # gone already if all went well

    def _publish(self, folder: Path, name: str) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(self.root / slug_of(name))
        except OSError as error:
            self.check_free(name)  # someone took the name meanwhile
            raise MachineError(f"the model could not be put in place: {error}", where=str(self.root)) from error

    def _sweep(self) -> None:
        """Delete what crashed additions and removals left behind."""
        import psutil

        if not self.root.is_dir():
            return
        for folder in self.root.glob(f"{_ADDING}*"):
            pid = folder.name.removeprefix(_ADDING).partition("-")[0]
            if not pid.isdigit() or not psutil.pid_exists(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self.root.glob(f"{_REMOVING}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> Iterator[Path]:
        """The folders of the models; those with a leading dot are work in progress."""
        if self.root.is_dir():
            yield from sorted(f for f in self.root.iterdir() if f.is_dir() and not f.name.startswith("."))


def _name(chosen: str | None, default: str) -> str:
    return checked_name(default[:MAX_NAME_CHARS] if chosen is None else chosen)


def default_name(path: Path) -> str:
    """The name of a model folder; a snapshot in the hub's cache is called after its repository."""
    repository = path.parent.parent.name
    if path.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.rpartition("--")[2]
    return path.name


def _entry(facts: ModelFacts, path: Path, source: str, license: str, *, owned: bool) -> ModelEntry:
    warnings = []
    if not (path / "tokenizer.json").is_file():
        warnings.append("there is no tokenizer.json: the model can be inspected, but not trained on text")
    if (about_sites := notice(path)) is not None:
        warnings.append(about_sites)
    if "auto_map" in read_config(path):
        warnings.append("its config names code of its own (auto_map), which is never run here; it may not load")
    facts = facts.model_copy(update={"license": license or facts.license})
    return ModelEntry(facts=facts, source=source, owned=owned, warnings=tuple(warnings))


def _is_download(entry: ModelEntry, repo: str, revision: str) -> bool:
    """Whether ``entry`` is ``repo`` at the branch, tag or (abbreviated) commit ``revision``; at any if it is empty."""
    kept, _, commit = entry.source.partition("@")
    at_revision = revision in ("", entry.revision) or (len(revision) >= 7 and commit.startswith(revision))
    return kept == f"hub:{repo}" and at_revision


def _problems(folder: Path) -> list[Problem]:
    try:
        entry = read_entry(folder)
    except UserError as error:
        return [Problem(f"library:{folder.name}", error.message, error.hint)]
    where = f"library:{entry.facts.name}"
    found = [Problem(where, warning, severity="warning") for warning in entry.warnings]
    if not (Path(entry.facts.path) / "config.json").is_file():
        found.append(Problem(where, f"its files are gone from {entry.facts.path}", "put them back or remove the model"))
    return found
