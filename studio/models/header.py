"""The tensors of a model folder, read from its safetensors headers without touching a weight."""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from studio.core.errors import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
MAX_HEADER_BYTES = 100 * 1024**2

# bits per scalar and torch's name of each safetensors dtype
DTYPES: dict[str, tuple[int, str]] = {
    "F64": (64, "float64"), "F32": (32, "float32"), "F16": (16, "float16"), "BF16": (16, "bfloat16"),
    "I64": (64, "int64"), "I32": (32, "int32"), "I16": (16, "int16"), "I8": (8, "int8"),
    "U64": (64, "uint64"), "U32": (32, "uint32"), "U16": (16, "uint16"), "U8": (8, "uint8"), "BOOL": (8, "bool"),
    "F8_E4M3": (8, "float8_e4m3fn"), "F8_E5M2": (8, "float8_e5m2"), "F8_E8M0": (8, "float8_e8m0fnu"),
}  # fmt: skip

_DAMAGED = "copy or download the file again; nothing was changed"


@dataclass(frozen=True)
class TensorInfo:
    """One stored tensor; ``dtype`` is torch's name for it, ``file`` the file's name in the model folder."""

    dtype: str
    shape: tuple[int, ...]
    bytes_: int
    file: str

    @property
    def count(self) -> int:
        return prod(self.shape)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Every tensor of the model folder ``path`` by its stored name."""
    tensors: dict[str, TensorInfo] = {}
    for file in weight_files(path):
        tensors.update(read_file_header(file))
    return tensors


def weight_files(path: Path) -> tuple[Path, ...]:
    """The safetensors files of the model folder ``path``, as transformers would choose them, in a fixed order."""
    if (path / SINGLE).is_file():
        return (path / SINGLE,)
    if (path / INDEX).is_file():
        return _indexed_files(path / INDEX)
    raise _no_weights(path)


def read_file_header(file: Path) -> dict[str, TensorInfo]:
    """Every tensor of one safetensors file, its layout checked against the file's size."""
    entries, data_bytes = _parse(file)
    tensors: dict[str, TensorInfo] = {}
    end = 0
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        tensors[name], last = _tensor(file, name, entry)
        end = max(end, last)
    if end != data_bytes:
        raise _size_error(file, end, data_bytes)
    return tensors


def hash_weights(path: Path) -> str:
    """SHA-256 over the headers, the sizes and a few samples of every weight file of the folder ``path``.

    Two fine-tunes of one model share header and size, so 4 KiB from eight places of each file are hashed too.
    """
    digest = hashlib.sha256()
    for file in weight_files(path):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            start = _header_size(file, stream.read(8)) + 8
            stream.seek(0)
            digest.update(stream.read(start))
            for offset in _sample_offsets(start, size):
                stream.seek(offset)
                digest.update(stream.read(4096))
    return digest.hexdigest()


def _sample_offsets(start: int, size: int) -> Iterator[int]:
    step = max(1, (size - start) // 8)
    return iter(range(start, size, step))


def _indexed_files(index: Path) -> tuple[Path, ...]:
    try:
        shards = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError("the shard index is damaged", where=str(index), hint=_DAMAGED) from error
    files = []
    for shard in sorted(shards):
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise UserError(f"the shard index names a file outside the folder: {shard!r}", where=str(index))
        file = index.parent / shard
        if not file.is_file():
            raise UserError(f"the shard {shard} is missing", where=str(index), hint="download the missing file")
        files.append(file)
    return tuple(files)


def _no_weights(path: Path) -> UserError:
    if not path.is_dir():
        return UserError(
            "there is no such folder", where=str(path), hint="choose a folder with config.json and weights"
        )
    pickled = sorted(file.name for file in path.iterdir() if file.suffix in PICKLES)
    if pickled:
        return UserError(
            f"the weights are refused because a pickle file can run code when it is opened: {', '.join(pickled[:3])}",
            where=str(path),
            hint="use the model's safetensors files, or convert it with a tool you trust and add the result",
        )
    return UserError(
        f"there are no weights: neither {SINGLE} nor {INDEX}",
        where=str(path),
        hint="choose the folder that a download or save_pretrained wrote, with its safetensors files",
    )


def _parse(file: Path) -> tuple[dict[str, Any], int]:
    """The header's JSON object and the number of bytes after it."""
    with file.open("rb") as stream:
        length = _header_size(file, stream.read(8))
        raw = stream.read(length)
    size = file.stat().st_size
    if len(raw) < length:
        raise UserError(f"the file ends inside its header ({size:,} bytes)", where=str(file), hint=_DAMAGED)
    try:
        entries = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UserError("the header is not JSON: the file is damaged", where=str(file), hint=_DAMAGED) from error
    if not isinstance(entries, dict):
        raise UserError("the header is not a JSON object", where=str(file), hint=_DAMAGED)
    return entries, size - 8 - length


def _header_size(file: Path, first: bytes) -> int:
    if len(first) < 8:
        raise UserError("the file is too short to be a safetensors file", where=str(file), hint=_DAMAGED)
    (length,) = struct.unpack("<Q", first)
    if length > MAX_HEADER_BYTES:
        raise UserError(
            f"the header claims {length:,} bytes, more than the 100 MB that are allowed: no safetensors file",
            where=str(file),
            hint="check what the file is; a renamed pickle or GGUF file looks like this",
        )
    return int(length)


def _tensor(file: Path, name: str, entry: Any) -> tuple[TensorInfo, int]:
    try:
        code, shape, (start, end) = str(entry["dtype"]), tuple(int(n) for n in entry["shape"]), entry["data_offsets"]
        bits, dtype = DTYPES.get(code, (0, code.lower()))
        consistent = (
            0 <= start <= end
            and min(shape, default=0) >= 0
            and (not bits or (prod(shape) * bits + 7) // 8 == end - start)
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"the header entry of {name!r} is damaged", where=str(file), hint=_DAMAGED) from error
    if not consistent:
        raise UserError(f"shape and size of {name!r} do not agree", where=str(file), hint=_DAMAGED)
    return TensorInfo(dtype, shape, end - start, file.name), end


def _size_error(file: Path, expected: int, found: int) -> UserError:
    if found < expected:
        message = f"the file is cut short: {found:,} of {expected:,} bytes of weights are there"
    else:
        message = f"the file is {found - expected:,} bytes longer than its header says"
    return UserError(message, where=str(file), hint=_DAMAGED)


def most_common_dtype(tensors: Mapping[str, TensorInfo]) -> str:
    """The dtype that holds most of the scalars."""
    counts: dict[str, int] = {}
    for tensor in tensors.values():
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.count
    return max(counts, key=lambda dtype: counts[dtype], default="float32")
