"""The files of a model that the library keeps, and how they get into its folder."""

import os
import shutil
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from studio.core.errors import Cancelled, MachineError
from studio.core.progress import CancelCheck, Progress
from studio.core.units import format_bytes
from studio.models.header import weight_files

# everything a model needs; never pickles (*.bin) and never code (*.py)
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
COMPANIONS = (
    "model.safetensors.index.json", "config.json", "generation_config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "chat_template.jinja", "chat_template.json", "README.md", "LICENSE*", "NOTICE*",
)  # fmt: skip
SPARE_BYTES = 256 * 1024**2  # left free on a disk, whatever is written

_CHUNK_BYTES = 16 * 1024**2


def choose_files(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that a model needs: one form of its weights, and their companions."""
    plain = sorted(name for name in names if "/" not in name and "\\" not in name)
    weights = ["model.safetensors"] if "model.safetensors" in plain else _matching(plain, WEIGHTS)
    return [*_matching(plain, COMPANIONS), *weights]


def copy_model(source: Path, target: Path, progress: Progress, cancelled: CancelCheck) -> None:
    """Hard-link the weights of the model folder ``source`` into ``target`` where possible, copy the rest."""
    weights = {file.name for file in weight_files(source)}
    companions = _matching((file.name for file in source.iterdir() if file.is_file()), COMPANIONS)
    names = sorted({*companions, *weights})
    sizes = [(source / name).stat().st_size for name in names]
    done, total = 0, sum(sizes)
    for name, size in zip(names, sizes, strict=True):
        progress(f"copying {name}", done / total if total else None)
        linked = name in weights and _link(source / name, target / name)
        if not linked:
            _copy(source / name, target / name, cancelled)
        done += size


def check_disk(folder: Path, needed: int) -> None:
    """MachineError if the disk of ``folder`` has not ``needed`` bytes free, and a little more."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise MachineError(
            f"the disk has {format_bytes(free)} free, {format_bytes(needed)} are needed",
            where=str(folder),
            hint="free some space, or move the studio's home to a larger disk",
        )


def _matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _link(source: Path, target: Path) -> bool:
    """Whether ``target`` now is a hard link to ``source``; another disk or file system may not allow it."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        return False
    return True


def _copy(source: Path, target: Path, cancelled: CancelCheck) -> None:
    check_disk(target.parent, source.stat().st_size)
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            if cancelled():
                raise Cancelled
            writer.write(chunk)
    shutil.copystat(source, target)
