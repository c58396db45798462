"""config.json of a model folder: reading it, refusing what cannot be trained, and its many names for one thing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.models.families import family_of
from studio.models.header import PICKLES

Config = Mapping[str, Any]

_NAMES: dict[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim", "hidden_sizes"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "head_dim": ("head_dim", "d_kv", "attention_head_size"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"),
    "intermediate": ("intermediate_size", "n_inner", "ffn_dim", "encoder_ffn_dim", "d_ff", "hidden_dim"),
    "vocab": ("vocab_size",),
    "active_experts": ("num_experts_per_tok",),
    "max_positions": (
        "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length",
        "max_target_positions",
    ),
}  # fmt: skip

_NESTED = ("text_config", "language_config", "llm_config")


def read_config(path: Path) -> dict[str, Any]:
    """config.json of the model folder ``path``; UserError if it is missing, damaged or names what is not supported."""
    file = path / "config.json"
    if not file.is_file():
        raise _missing(path)
    try:
        config = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError("config.json is not valid JSON", where=str(file), hint="download the file again") from error
    if not isinstance(config, dict):
        raise UserError("config.json is not a JSON object", where=str(file), hint="download the file again")
    check_supported(config, str(file))
    return config


def check_supported(config: Config, where: str) -> None:
    """UserError for models that need their own code or whose stored weights are quantised."""
    known = family_of(str(config.get("model_type", ""))) is not None
    if config.get("auto_map") and not known:
        raise UserError(
            "the model needs Python code from its own repository (auto_map), which the studio does not run",
            where=where,
            hint="choose a model that transformers supports by itself",
        )
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "unknown") if isinstance(quantization, Mapping) else "unknown"
        raise UserError(
            f"the stored weights are quantised ({method}) and cannot be tuned as they are",
            where=where,
            hint="use the unquantised model, or a GGUF of it, which the library converts",
        )


def text_part(config: Config) -> Config:
    """The settings of the language model inside a composite config, else the config itself."""
    for key in _NESTED:
        nested = config.get(key)
        if isinstance(nested, Mapping):
            return {**config, **nested, "model_type": config.get("model_type", nested.get("model_type", ""))}
    return config


def number(config: Config, what: str, default: int = 0) -> int:
    """A size by any of the names that families give it (the last stage's); ``default`` when none is there."""
    for name in _NAMES[what]:
        value = config.get(name)
        if isinstance(value, list) and value:
            value = value[-1]
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return int(value)
    return default


def is_tied(config: Config, default: bool) -> bool:
    """Whether the config says that the head and the embedding are one tensor."""
    value = config.get("tie_word_embeddings")
    return value if isinstance(value, bool) else default


def _missing(path: Path) -> UserError:
    where = str(path)
    if not path.exists():
        return UserError("there is no such file or folder", where=where, hint="check the path")
    if path.suffix.lower() == ".gguf":
        return UserError(
            "a GGUF file is converted once before it can be tuned",
            where=where,
            hint="add it to the model library, then use it as library:NAME",
        )
    if path.suffix.lower() in PICKLES:
        return UserError(
            "the file is refused because a pickle can run code when it is opened",
            where=where,
            hint="choose the folder with the model's config.json and safetensors files",
        )
    if path.is_file():
        return UserError(
            f"{path.suffix or 'this kind of'} file is no model",
            where=where,
            hint="choose a model's folder (config.json and safetensors) or a .gguf file",
        )
    if (path / "adapter_config.json").is_file():
        return UserError("this folder holds an adapter, not a base model", where=where, hint="choose its base model")
    return UserError(
        "there is no config.json in this folder",
        where=where,
        hint="choose the folder that a download or save_pretrained wrote",
    )
