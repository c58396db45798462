"""What each known model family does differently: prefix, kind, tying, and the roles of its modules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ModelKind = Literal["decoder", "encoder", "encoder-decoder", "other"]


@dataclass(frozen=True)
class Family:
    """One transformers ``model_type``.

    ``prefix`` is where its weights keep the backbone (transformers' ``base_model_prefix`` with a dot), ``tied``
    what holds when config.json does not say, ``roles`` what the common table would get wrong, by the tail of a
    module's path. ``head`` is the head's name in the stored weights; the module is always called lm_head.
    ``conv1d``: linear weights inside the blocks are stored d_in x d_out. ``unused_positions``: how many of the
    configured positions no token can have.
    """

    kind: ModelKind
    prefix: str
    tied: bool = False
    head: str = "lm_head"
    conv1d: bool = False
    unused_positions: int = 0
    roles: Mapping[str, str] = field(default_factory=dict)


_POST_NORMS = {
    "post_attention_layernorm": "norm1_post",
    "pre_feedforward_layernorm": "norm2",
    "post_feedforward_layernorm": "norm2_post",
}
_OLMO2 = {"post_attention_layernorm": "norm1", "post_feedforward_layernorm": "norm2"}
_LLAMA = Family("decoder", "model.")
_GEMMA = Family("decoder", "model.", tied=True)
_GEMMA2 = Family("decoder", "model.", tied=True, roles=_POST_NORMS)
_T5_NORMS = {
    "layer.0.layer_norm": "norm1",
    "encoder.layer.1.layer_norm": "norm2",
    "decoder.layer.1.layer_norm": "norm_cross",
    "layer.2.layer_norm": "norm2",
}
_T5 = Family("encoder-decoder", "", tied=True, roles=_T5_NORMS)
_ROBERTA = Family("encoder", "roberta.", tied=True, unused_positions=2)  # positions start after the padding's
_BART = Family("encoder-decoder", "model.", tied=True)
HEAD = "lm_head"
# modules of every encoder-decoder that share the tensor of ``shared``; the forward pass goes through them
SHARED_EMBEDDINGS = ("encoder.embed_tokens", "decoder.embed_tokens")

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "phi3": _LLAMA,
    "olmo": _LLAMA,
    "cohere": Family("decoder", "model.", tied=True),
    "cohere2": Family("decoder", "model.", tied=True),
    "olmo2": Family("decoder", "model.", roles=_OLMO2),
    "olmo3": Family("decoder", "model.", roles=_OLMO2),
    "smollm3": Family("decoder", "model.", tied=True),
    "granite": Family("decoder", "model.", tied=True),
    "starcoder2": Family("decoder", "model.", tied=True),
    "stablelm": _LLAMA,
    "phi": Family("decoder", "model.", roles={"self_attn.dense": "o"}),
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA2,
    "gpt2": Family("decoder", "transformer.", tied=True, conv1d=True),
    "gpt_bigcode": Family("decoder", "transformer.", tied=True),
    "gpt_neo": Family("decoder", "transformer.", tied=True),
    "gptj": Family("decoder", "transformer."),
    "gpt_neox": Family("decoder", "gpt_neox.", head="embed_out"),
    "opt": Family("decoder", "model.", tied=True),
    "bloom": Family("decoder", "transformer.", tied=True),
    "falcon": Family("decoder", "transformer.", tied=True),
    "mpt": Family("decoder", "transformer.", tied=True),
    "bert": Family("encoder", "bert.", tied=True),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": Family("encoder", "distilbert.", tied=True),
    "electra": Family("encoder", "electra.", tied=True),
    "deberta-v2": Family("encoder", "deberta.", tied=True),
    "modernbert": Family("encoder", "model.", tied=True),
    "t5": _T5,
    "mt5": _T5,
    "bart": _BART,
    "mbart": _BART,
    "pegasus": _BART,
}

_PREFIXES = ("model.", "transformer.", "backbone.", "base_model.")


def family_of(model_type: str) -> Family | None:
    """The family of a ``model_type``; None when the studio has no table for it."""
    return FAMILIES.get(model_type)


def guess_family(config: Mapping[str, Any], names: list[str]) -> Family:
    """A family for an unknown ``model_type``, from its class name and its tensors' names."""
    model_type, architecture = str(config.get("model_type", "")), architecture_of(config)
    prefixes = (f"{model_type}.", *_PREFIXES)
    prefix = max(prefixes, key=lambda p: sum(name.startswith(p) for name in names))
    used = any(name.startswith(prefix) for name in names)
    head = "embed_out" if any(name.startswith("embed_out.") for name in names) else "lm_head"
    kind = guess_kind(architecture, encodes_and_decodes=config.get("is_encoder_decoder") is True)
    return Family(kind, prefix if used else "", head=head)


def architecture_of(config: Mapping[str, Any]) -> str:
    """The transformers class that a config names first; empty when it names none."""
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def guess_kind(architecture: str, *, encodes_and_decodes: bool) -> ModelKind:
    """The kind of model that a transformers class name tells; models of images and text are "other"."""
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "decoder"
    if encodes_and_decodes:
        return "encoder-decoder"
    encoders = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForPreTraining")
    return "encoder" if architecture.endswith(encoders) else "other"
