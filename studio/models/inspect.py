"""What is known about a model folder from its config and weight headers: the facts the whole studio works with."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.api import Site
from studio.core.facts import ModelFacts
from studio.models.config import number, text_part
from studio.models.families import architecture_of
from studio.models.header import TensorInfo, hash_weights, most_common_dtype
from studio.models.sites import model_family, read_model, sites_of

_BUFFERS = re.compile(
    r"(\.attn\.(bias|masked_bias)|\.attention\.(bias|masked_bias)|inv_freq|position_ids|token_type_ids|final_logits_bias|"
    r"running_mean|running_var|num_batches_tracked|relative_position_index)$"
)
_LICENSE = re.compile(r"^license:\s*[\"']?([^\s\"'#]+)", re.MULTILINE)


def inspect_model(path: Path, name: str | None = None) -> ModelFacts:
    """The facts of the model folder ``path``; UserError names the file and the remedy when it cannot be used."""
    config, header, sites = read_model(path)
    facts = inspect_config(config, header, sites, name=name or path.resolve().name, path=str(path.resolve()))
    found: dict[str, Any] = {
        "has_chat_template": has_chat_template(path),
        "license": read_license(path),
        "fingerprint": _fingerprint(config, hash_weights(path)),
    }
    if not facts.max_positions:
        found["max_positions"] = _tokenizer_limit(path)
    return facts.model_copy(update=found)


def inspect_config(
    config: Mapping[str, Any],
    header: Mapping[str, TensorInfo],
    sites: Sequence[Site] | None = None,
    *,
    name: str = "model",
    path: str = "",
) -> ModelFacts:
    """The facts that the config and the tensors' names, shapes and types tell; no file is read.

    ``layers`` counts the blocks of all stacks; ``max_positions`` is 0 when the model has no fixed limit.
    """
    text, family = text_part(config), model_family(config, header)
    sites = sites_of(config, header) if sites is None else sites
    hidden, heads = _hidden_of(sites), number(text, "heads", 1)
    return ModelFacts(
        name=name,
        path=path,
        architecture=architecture_of(config),
        model_type=str(config.get("model_type", "")),
        kind="decoder" if config.get("is_decoder") else family.kind,
        params=count_params(header, sites),
        weight_bytes=sum(tensor.bytes_ for tensor in header.values()),
        dtype=most_common_dtype(header),
        layers=_layers(text, sites),
        hidden=hidden,
        intermediate=_intermediate(text, sites, hidden),
        heads=heads,
        kv_heads=_kv_heads(text, heads),
        head_dim=number(text, "head_dim", hidden // heads),
        vocab=number(text, "vocab") or _vocab_of(sites),
        max_positions=max(0, number(text, "max_positions") - family.unused_positions),
        tied_embeddings=any(site.role == "head" and site.tied_to for site in sites),
        gated_mlp=any(site.role in ("gate", "gate_up", "expert_gate_up") for site in sites),
        has_chat_template=False,
        active_experts=_active_experts(text, sites),
        relative_positions=_relative_positions(sites),
        fingerprint=_fingerprint(config, _header_digest(header)),
    )


def count_params(header: Mapping[str, TensorInfo], sites: Sequence[Site]) -> int:
    """Every stored scalar once: no buffers, and a tensor that is stored under two names is counted once."""
    stored = sum(tensor.count for name, tensor in header.items() if not _BUFFERS.search(name))
    return stored - sum(_stored_twice(header, site) for site in sites if site.tied_to)


def has_chat_template(path: Path) -> bool:
    """Whether the tokenizer of the model folder ``path`` brings a chat template."""
    if any((path / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    return bool(_tokenizer_config(path).get("chat_template"))


def read_license(path: Path) -> str:
    """The licence that the model card of the folder ``path`` declares; empty when it declares none."""
    card = path / "README.md"
    if not card.is_file():
        return ""
    with card.open("rb") as stream:
        front = stream.read(65_536).decode("utf-8", "replace")
    if not front.startswith("---"):
        return ""
    match = _LICENSE.search(front.split("\n---", 1)[0])
    return match[1] if match else ""


def _stored_twice(header: Mapping[str, TensorInfo], site: Site) -> int:
    return next((tensor.count for name, tensor in header.items() if name.endswith(f"{site.path}.weight")), 0)


def _layers(text: Mapping[str, Any], sites: Sequence[Site]) -> int:
    found = max((site.layer + 1 for site in sites if site.layer is not None), default=0)
    return found or number(text, "layers")


def _intermediate(text: Mapping[str, Any], sites: Sequence[Site], hidden: int) -> int:
    for site in sites:
        if site.role in ("up", "fc1"):
            return site.d_out
        if site.role in ("gate_up", "expert_gate_up"):
            return site.d_out // 2
    return number(text, "intermediate", 4 * hidden)


def _active_experts(text: Mapping[str, Any], sites: Sequence[Site]) -> int:
    return number(text, "active_experts", 1) if any(site.copies > 1 for site in sites) else 1


def _relative_positions(sites: Sequence[Site]) -> int:
    return next((site.d_in for site in sites if site.path.endswith("rel_embeddings")), 0)


def _kv_heads(text: Mapping[str, Any], heads: int) -> int:
    if text.get("multi_query") and not text.get("new_decoder_architecture"):
        return 1  # Falcon-7B and GPT-BigCode say it with a flag
    return number(text, "kv_heads", heads)


def _hidden_of(sites: Sequence[Site]) -> int:
    return next(site.d_out for site in sites if site.kind == "model")


def _vocab_of(sites: Sequence[Site]) -> int:
    return next((site.d_in for site in sites if site.role == "embed"), 0)


def _tokenizer_config(path: Path) -> Mapping[str, Any]:
    file = path / "tokenizer_config.json"
    try:
        config = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _tokenizer_limit(path: Path) -> int:
    limit = _tokenizer_config(path).get("model_max_length", 0)
    return int(limit) if isinstance(limit, int | float) and 0 < limit < 10_000_000 else 0


def _fingerprint(config: Mapping[str, Any], weights: str) -> str:
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{text}\0{weights}".encode()).hexdigest()


def _header_digest(header: Mapping[str, TensorInfo]) -> str:
    lines = (f"{name} {tensor.dtype} {tensor.shape} {tensor.bytes_}" for name, tensor in sorted(header.items()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
