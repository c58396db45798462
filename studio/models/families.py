"""What each known model family does differently: prefix, kind, tying, and the roles of its modules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ModelKind = Literal["decoder", "encoder", "encoder-decoder", "vision", "audio", "other"]


@dataclass(frozen=True)
class Family:
    """One transformers ``model_type``.

    ``prefix`` is where its weights keep the backbone (transformers' ``base_model_prefix`` with a dot), ``tied``
    what holds when config.json does not say, ``roles`` what the common table would get wrong, by the tail of a
    module's path. ``head`` is the live path of the head. ``renames``: what stored names are called in the live
    model, where the two differ. ``blocks``: how the lists of blocks are called (a regular expression).
    ``conv1d``: linear weights inside the blocks are stored d_in x d_out. ``plain_ffn``: where one module holds the
    feed-forward, it returns that alone, without the residual stream. ``open_attention``: attention goes through
    transformers' common interface, where keys can be put before its own. ``packs``: rows packed into one sequence do
    not see each other. ``channels_first``: roles of norms over the second axis of a feature map.
    ``unused_positions``: how many of the configured positions no token can have.
    """

    kind: ModelKind
    prefix: str
    tied: bool = False
    head: str = "lm_head"
    renames: tuple[tuple[str, str], ...] = ()
    blocks: str = "layers|layer|h|blocks|block"
    conv1d: bool = False
    plain_ffn: bool = True
    open_attention: bool = True
    packs: bool = True
    channels_first: frozenset[str] = frozenset()
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
    "encoder.block.layer.1.layer_norm": "norm2",
    "decoder.block.layer.1.layer_norm": "norm_cross",
    "layer.2.layer_norm": "norm2",
}
_T5 = Family("encoder-decoder", "", tied=True, roles=_T5_NORMS)
_ROBERTA = Family("encoder", "roberta.", tied=True, unused_positions=2)  # positions start after the padding's
_BART = Family("encoder-decoder", "model.", tied=True)
_ROUTERS = {"mlp.gate": "router", "mlp.shared_expert_gate": "router"}
_MIXTURE = Family("decoder", "model.", roles=_ROUTERS)
_VIT_NAMES = (
    ("encoder.layer.", "layers."),
    ("attention.attention.query.", "attention.q_proj."),
    ("attention.attention.key.", "attention.k_proj."),
    ("attention.attention.value.", "attention.v_proj."),
    ("attention.output.dense.", "attention.o_proj."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
)
_SWIN_NAMES = (
    ("attention.self.query.", "attention.q_proj."),
    ("attention.self.key.", "attention.k_proj."),
    ("attention.self.value.", "attention.v_proj."),
    *_VIT_NAMES[4:],
)
_STAGES = r"stages\.\d+\.layers"
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
    "gpt_neo": Family("decoder", "transformer.", tied=True, open_attention=False),
    "gptj": Family("decoder", "transformer.", open_attention=False),
    "gpt_neox": Family("decoder", "gpt_neox.", renames=(("embed_out.", "lm_head."),)),
    "opt": Family("decoder", "model.", tied=True, packs=False),
    "bloom": Family("decoder", "transformer.", tied=True, plain_ffn=False, open_attention=False, packs=False),
    "falcon": Family("decoder", "transformer.", tied=True, open_attention=False, packs=False),
    "mpt": Family("decoder", "transformer.", tied=True, plain_ffn=False, open_attention=False, packs=False),
    "mixtral": Family("decoder", "model.", renames=((".block_sparse_moe.", ".mlp."),), roles=_ROUTERS),
    "qwen2_moe": _MIXTURE,
    "qwen3_moe": _MIXTURE,
    "bert": Family("encoder", "bert.", tied=True),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": Family("encoder", "distilbert.", tied=True),
    "electra": Family("encoder", "electra.", tied=True),
    "deberta-v2": Family("encoder", "deberta.", tied=True, open_attention=False),
    "modernbert": Family("encoder", "model.", tied=True),
    "t5": _T5,
    "mt5": _T5,
    "bart": _BART,
    "mbart": _BART,
    "pegasus": _BART,
    "whisper": Family("encoder-decoder", "model.", tied=True, head="proj_out"),
    "wav2vec2": Family("audio", "wav2vec2.", blocks=r"encoder\.layers", channels_first=frozenset({"conv_norm"})),
    "audio-spectrogram-transformer": Family("audio", "audio_spectrogram_transformer.", renames=_VIT_NAMES),
    "vit": Family("vision", "vit.", renames=_VIT_NAMES),
    "deit": Family("vision", "deit.", renames=_VIT_NAMES),
    "swin": Family("vision", "swin.", renames=_SWIN_NAMES, blocks=r"layers\.\d+\.blocks"),
    "resnet": Family("vision", "resnet.", blocks=_STAGES, channels_first=frozenset({"conv_norm"})),
    "convnext": Family("vision", "convnext.", blocks=_STAGES, channels_first=frozenset({"embed_norm", "stage_norm"})),
    "clip": Family("other", "clip."),
}

_ENDINGS: dict[ModelKind, tuple[str, ...]] = {
    "encoder": ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForPreTraining"),
    "vision": ("ForImageClassification",),
    "audio": ("ForAudioClassification", "ForCTC"),
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
    return next((kind for kind, endings in _ENDINGS.items() if architecture.endswith(endings)), "other")
