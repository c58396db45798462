"""GGUF files become safetensors folders: weights unpacked to bf16, with config, tokenizer and chat template."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from studio.core.errors import MachineError, UserError
from studio.core.units import format_bytes
from studio.models.gguf_header import read_gguf

Report = Callable[[str, float | None], None]

_PROCESS_BYTES = 700 * 1024**2  # Python, torch and transformers, measured
_BF16_BYTES = 2
_INSTEAD = "use the model's safetensors version"

# ways of cutting text before BPE that transformers or this module rebuilds; the rest get GPT-2's, which may be wrong
_KNOWN_SPLITS = frozenset({
    "default", "gpt-2", "smollm", "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "tekken", "pixtral",
    "qwen2", "qwen35", "deepseek-r1-qwen", "gpt-4o", "llama4", "dbrx", "smaug-bpe", "lfm2",
})  # fmt: skip


def convert_gguf(file: Path, folder: Path, report: Report) -> dict[str, Any]:
    """Write the model in ``file`` to ``folder`` and return its licence and warnings as the file tells them."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: a local file needs no hub
    report("reading the file", 0.0)
    facts = read_gguf(file)
    _check_room(facts.params, folder)
    report("starting torch", 0.05)
    model = _load_model(file, report)
    report("writing the weights", 0.75)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    report("converting the tokenizer", 0.85)
    warnings = _save_tokenizer(file, folder, facts.split)
    report("done", 1.0)
    return {"license": facts.license, "warnings": warnings}


def _check_room(params: int, folder: Path) -> None:
    """MachineError if memory or disk cannot hold the unpacked weights."""
    weights = params * _BF16_BYTES
    needed, free = weights + weights // 2 + _PROCESS_BYTES, psutil.virtual_memory().available
    if free < needed:
        raise MachineError(
            f"converting needs about {format_bytes(needed)} of memory, {format_bytes(free)} are free",
            hint=f"close other programs, or {_INSTEAD}",
        )
    parent = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    disk = shutil.disk_usage(parent).free
    if disk < weights * 1.05:
        raise MachineError(
            f"the unpacked weights need {format_bytes(weights * 1.05)} of disk, {format_bytes(disk)} are free",
            where=str(parent),
            hint="free some space",
        )


def _load_model(file: Path, report: Report) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    report("unpacking the weights", None)
    try:
        return AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            dtype=torch.bfloat16,
            # without it weights may stay packed, and a model with packed weights cannot be saved
            quantization_config=GgufConfig(dequantize=True),
        )
    except (ValueError, RuntimeError) as error:
        message = f"transformers cannot convert this GGUF file: {error}"
        raise UserError(message, where=str(file), hint=_INSTEAD) from error


def _save_tokenizer(file: Path, folder: Path, split: str) -> list[str]:
    """Write tokenizer.json and the chat template; return warnings."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"the tokenizer in this GGUF file cannot be converted: {error}", where=str(file), hint=_INSTEAD
        ) from error
    if split == "smollm":
        _split_digits(tokenizer.backend_tokenizer)
    tokenizer.save_pretrained(folder)
    _clean_tokenizer_config(folder / "tokenizer_config.json")
    if split in _KNOWN_SPLITS:
        return []
    return [f"how the tokenizer cuts text ({split}) is not known here: some words may be cut in other places"]


def _split_digits(tokenizer: Any) -> None:
    """SmolLM splits off every digit before BPE; transformers' GGUF reader does not know its ``smollm`` split."""
    from tokenizers import pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _clean_tokenizer_config(file: Path) -> None:
    """Drop the settings that describe this conversion, not the tokenizer."""
    config = json.loads(file.read_text("utf-8"))
    kept = {key: value for key, value in config.items() if key not in ("is_local", "local_files_only", "gguf_file")}
    file.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", "utf-8")
