"""What a GGUF file says about itself, read in milliseconds from its header."""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from studio.core.errors import UserError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_STRING_BYTES = 64 * 1024**2
_AGAIN = "download the file again"


@dataclass(frozen=True)
class GgufFacts:
    """``values`` holds the scalars and strings of the header; of an array only its length is kept."""

    params: int
    tensors: int
    values: dict[str, Any]

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", ""))

    @property
    def license(self) -> str:
        return str(self.values.get("general.license", ""))

    @property
    def split(self) -> str:
        """How its BPE tokenizer cuts text into words before merging; "default" for other tokenizers."""
        bpe = self.values.get("tokenizer.ggml.model") == "gpt2"
        return str(self.values.get("tokenizer.ggml.pre", "default")) if bpe else "default"


def read_gguf(file: Path) -> GgufFacts:
    """The facts of a whole GGUF language model; UserError for anything else, before anything is converted."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        try:
            facts, end = _read(stream)
        except (struct.error, EOFError, UnicodeDecodeError) as error:
            raise UserError(
                "the header of this GGUF file is damaged or cut short", where=str(file), hint=_AGAIN
            ) from error
    _check(facts, file)
    if size < end:
        raise UserError(f"the file is cut short: {size:,} of {end:,} bytes are there", where=str(file), hint=_AGAIN)
    return facts


def _check(facts: GgufFacts, file: Path) -> None:
    parts = facts.values.get("split.count", 1)
    if parts > 1:
        hint = "merge the parts first: llama-gguf-split --merge"
        raise UserError(f"this is one of {parts} parts of a split GGUF file", where=str(file), hint=hint)
    kind = facts.values.get("general.type", "model")
    if kind != "model" or not facts.architecture:
        raise UserError(f"this GGUF file holds no language model but: {kind}", where=str(file))


def _read(stream: BinaryIO) -> tuple[GgufFacts, int]:
    """The facts and the number of bytes that the whole file must have."""
    if _take(stream, 4) != b"GGUF":
        raise UserError("this is no GGUF file", where=stream.name, hint="choose a .gguf file or a model's folder")
    version, tensors, count = _unpack(stream, "<IQQ")
    if version not in (2, 3):
        raise UserError(
            f"GGUF version {version} is not supported", where=stream.name, hint="convert it with a new llama.cpp"
        )
    values = {}
    for _ in range(count):
        name = _string(stream)
        values[name] = _value(stream, *_unpack(stream, "<I"))
    params, end = _tensors(stream, tensors)
    alignment = int(values.get("general.alignment", 32))
    start = -(-stream.tell() // alignment) * alignment
    return GgufFacts(params, tensors, values), start + end


def _tensors(stream: BinaryIO, count: int) -> tuple[int, int]:
    """The number of scalars of all tensors, and where the last one ends after the header."""
    from gguf.constants import GGML_QUANT_SIZES

    sizes = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
    params = end = 0
    for _ in range(count):
        _string(stream)
        (dimensions,) = _unpack(stream, "<I")
        scalars = prod(_unpack(stream, f"<{dimensions}Q"))
        kind, offset = _unpack(stream, "<IQ")
        block, block_bytes = sizes.get(kind, (1, 0))
        params += scalars
        end = max(end, offset + scalars // block * block_bytes)
    return params, end


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(stream)
    if kind == _ARRAY:
        return _skip_array(stream)
    if kind not in _SCALARS:
        raise EOFError(f"unknown value type {kind}")
    return _unpack(stream, f"<{_SCALARS[kind]}")[0]


def _skip_array(stream: BinaryIO) -> int:
    kind, length = _unpack(stream, "<IQ")
    if kind in _SCALARS:
        _take(stream, length * struct.calcsize(_SCALARS[kind]))
        return int(length)
    for _ in range(length):
        _value(stream, kind)
    return int(length)


def _string(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "<Q")
    return _take(stream, length).decode("utf-8")


def _unpack(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, _take(stream, struct.calcsize(form)))


def _take(stream: BinaryIO, length: int) -> bytes:
    """Exactly ``length`` bytes: a damaged length must not make us read gigabytes."""
    data = stream.read(length) if length <= _MAX_STRING_BYTES else b""
    if len(data) < length:
        raise EOFError(f"{length} bytes expected")
    return data
