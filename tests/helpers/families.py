"""A tiny random model of every family that the studio knows, with inputs that it accepts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Inputs = Literal["text", "text to text", "image", "image and text", "spectrogram", "waveform", "speech to text"]
VOCAB, HIDDEN, HEADS = 96, 32, 4


@dataclass(frozen=True)
class Tiny:
    """``roles`` are those that every block has; ``size`` is the edge of an image or the number of frames."""

    architecture: str
    config: dict[str, Any]
    roles: str
    inputs: Inputs = "text"
    size: int = 8


_CORE = {"hidden_size": HIDDEN, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": HEADS}
_SIZE = {**_CORE, "vocab_size": VOCAB}
_GQA = {**_SIZE, "num_key_value_heads": 2}
_WIDE = {**_GQA, "head_dim": 16}  # head_dim x heads is not hidden
_GPT = {"vocab_size": VOCAB, "n_embd": HIDDEN, "n_layer": 2, "n_head": HEADS, "n_positions": 64}
_SEQ2SEQ = {
    "vocab_size": VOCAB, "d_model": HIDDEN, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS,
}  # fmt: skip
_T5 = {
    "vocab_size": VOCAB, "d_model": HIDDEN, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": HEADS,
    "decoder_start_token_id": 0,
}  # fmt: skip
_DEBERTA = {
    **_SIZE, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": False,
    "norm_rel_ebd": "layer_norm", "position_buckets": 8,
}  # fmt: skip
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_VIT = {**_CORE, "image_size": 8, "patch_size": 4}
_EXPERTS = {**_GQA, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 20}

_BLOCK = "q k v o norm1 norm2 "
_GATED = _BLOCK + "gate up down"
_PLAIN = _BLOCK + "fc1 fc2"
_JOINT = "qkv o norm1 norm2 fc1 fc2"
_MIXED = _BLOCK + "router expert_gate_up expert_down"

_TINY: dict[str, Tiny] = {
    "llama": Tiny("LlamaForCausalLM", {**_GQA, "attention_bias": True}, _GATED),
    "mistral": Tiny("MistralForCausalLM", _GQA, _GATED),
    "qwen2": Tiny("Qwen2ForCausalLM", _GQA, _GATED),
    "qwen3": Tiny("Qwen3ForCausalLM", _WIDE, _GATED + " q_norm k_norm"),
    "gemma": Tiny("GemmaForCausalLM", _WIDE, _GATED),
    "gemma2": Tiny("Gemma2ForCausalLM", _WIDE, _GATED + " norm1_post norm2_post"),
    "gemma3_text": Tiny("Gemma3ForCausalLM", _WIDE, _GATED + " norm1_post norm2_post q_norm k_norm"),
    "phi": Tiny("PhiForCausalLM", _SIZE, "q k v o norm1 fc1 fc2"),
    "phi3": Tiny("Phi3ForCausalLM", {**_GQA, **_SPECIAL}, "qkv o norm1 norm2 gate_up down"),
    "smollm3": Tiny("SmolLM3ForCausalLM", {**_GQA, **_SPECIAL}, _GATED),
    "olmo": Tiny("OlmoForCausalLM", {**_SIZE, **_SPECIAL}, "q k v o gate up down"),
    "olmo2": Tiny("Olmo2ForCausalLM", {**_SIZE, **_SPECIAL}, _GATED + " q_norm k_norm"),
    "olmo3": Tiny("Olmo3ForCausalLM", {**_SIZE, **_SPECIAL}, _GATED + " q_norm k_norm"),
    "granite": Tiny("GraniteForCausalLM", _SIZE, _GATED),
    "cohere": Tiny("CohereForCausalLM", {**_SIZE, **_SPECIAL}, "q k v o norm1 gate up down"),
    "cohere2": Tiny("Cohere2ForCausalLM", {**_SIZE, **_SPECIAL}, "q k v o norm1 gate up down"),
    "starcoder2": Tiny("Starcoder2ForCausalLM", {**_GQA, **_SPECIAL}, _PLAIN),
    "stablelm": Tiny("StableLmForCausalLM", _GQA, _GATED),
    "mixtral": Tiny("MixtralForCausalLM", {**_GQA, "num_local_experts": 3, "num_experts_per_tok": 2}, _MIXED),
    "qwen2_moe": Tiny(
        "Qwen2MoeForCausalLM", {**_EXPERTS, "shared_expert_intermediate_size": 28}, _MIXED + " gate up down"
    ),
    "qwen3_moe": Tiny("Qwen3MoeForCausalLM", {**_EXPERTS, "head_dim": 16}, _MIXED + " q_norm k_norm"),
    "gpt2": Tiny("GPT2LMHeadModel", {**_GPT, **_SPECIAL}, _JOINT),
    "gpt_bigcode": Tiny("GPTBigCodeForCausalLM", {**_GPT, **_SPECIAL}, _JOINT),
    "gpt_neo": Tiny(
        "GPTNeoForCausalLM",
        {**_SPECIAL, "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_layers": 2, "num_heads": HEADS,
         "attention_types": [[["global", "local"], 1]]},
        _PLAIN,
    ),
    "gptj": Tiny("GPTJForCausalLM", {**_GPT, **_SPECIAL, "rotary_dim": 4}, "q k v o norm1 fc1 fc2"),
    "gpt_neox": Tiny("GPTNeoXForCausalLM", {**_SIZE, **_SPECIAL}, _JOINT),
    "opt": Tiny(
        "OPTForCausalLM",
        {"vocab_size": VOCAB, "hidden_size": HIDDEN, "ffn_dim": 48, "num_hidden_layers": 2,
         "num_attention_heads": HEADS, "word_embed_proj_dim": 16, "max_position_embeddings": 64},
        _PLAIN,
    ),
    "bloom": Tiny(
        "BloomForCausalLM", {"vocab_size": VOCAB, "hidden_size": HIDDEN, "n_layer": 2, "n_head": HEADS}, _JOINT
    ),
    "falcon": Tiny("FalconForCausalLM", {**_SIZE, **_SPECIAL}, "qkv o norm1 fc1 fc2"),
    "mpt": Tiny("MptForCausalLM", {"vocab_size": VOCAB, "d_model": HIDDEN, "n_layers": 2, "n_heads": HEADS}, _JOINT),
    "bert": Tiny("BertModel", _SIZE, _PLAIN),
    "roberta": Tiny("RobertaForMaskedLM", _SIZE, _PLAIN),
    "xlm-roberta": Tiny("XLMRobertaForMaskedLM", _SIZE, _PLAIN),
    "camembert": Tiny("CamembertForMaskedLM", _SIZE, _PLAIN),
    "distilbert": Tiny(
        "DistilBertForMaskedLM",
        {"vocab_size": VOCAB, "dim": HIDDEN, "hidden_dim": 48, "n_layers": 2, "n_heads": HEADS},
        _PLAIN,
    ),
    "electra": Tiny("ElectraForPreTraining", {**_SIZE, "embedding_size": 16}, _PLAIN),
    "modernbert": Tiny(
        "ModernBertForMaskedLM",
        {**_SIZE, **_SPECIAL, "cls_token_id": 1, "sep_token_id": 2},
        "qkv o norm2 gate_up down",
    ),
    "deberta-v2": Tiny("DebertaV2ForMaskedLM", _DEBERTA, _PLAIN + " pos_q pos_k"),
    "t5": Tiny("T5ForConditionalGeneration", _T5, _PLAIN, "text to text"),
    "mt5": Tiny("MT5ForConditionalGeneration", {**_T5, "feed_forward_proj": "gated-gelu"}, _GATED, "text to text"),
    "bart": Tiny("BartForConditionalGeneration", _SEQ2SEQ, _PLAIN, "text to text"),
    "mbart": Tiny("MBartForConditionalGeneration", _SEQ2SEQ, _PLAIN, "text to text"),
    "pegasus": Tiny("PegasusForConditionalGeneration", _SEQ2SEQ, _PLAIN, "text to text"),
    "whisper": Tiny(
        "WhisperForConditionalGeneration",
        {**_SEQ2SEQ, **_SPECIAL, "decoder_start_token_id": 1, "num_mel_bins": 8, "max_source_positions": 8,
         "max_target_positions": 64},
        _PLAIN,
        "speech to text",
        size=16,
    ),
    "wav2vec2": Tiny(
        "Wav2Vec2ForCTC",
        {**_SIZE, "conv_dim": [16, 16], "conv_stride": [4, 2], "conv_kernel": [4, 2], "num_feat_extract_layers": 2,
         "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2},
        _PLAIN,
        "waveform",
        size=64,
    ),
    "audio-spectrogram-transformer": Tiny(
        "ASTForAudioClassification",
        {**_CORE, "patch_size": 4, "frequency_stride": 4, "time_stride": 4, "max_length": 16, "num_mel_bins": 8},
        _PLAIN,
        "spectrogram",
        size=16,
    ),
    "vit": Tiny("ViTForImageClassification", _VIT, _PLAIN, "image"),
    "deit": Tiny("DeiTForImageClassification", _VIT, _PLAIN, "image"),
    "swin": Tiny(
        "SwinForImageClassification",
        {"image_size": 16, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
        _PLAIN,
        "image",
        size=16,
    ),
    "resnet": Tiny(
        "ResNetForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2]},
        "conv conv_norm",
        "image",
        size=32,
    ),
    "resnet-basic": Tiny(
        "ResNetForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2], "layer_type": "basic"},
        "conv conv_norm",
        "image",
        size=32,
    ),
    "convnext": Tiny(
        "ConvNextForImageClassification",
        {"hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2, "patch_size": 2},
        "conv norm1 fc1 fc2",
        "image",
    ),
    "clip": Tiny(
        "CLIPModel",
        {"text_config": {**_SIZE, **_SPECIAL, "max_position_embeddings": 64},
         "vision_config": {**_VIT, "hidden_size": 24}, "projection_dim": 20},
        _PLAIN,
        "image and text",
    ),
}  # fmt: skip

FAMILIES = list(_TINY)


def tiny(family: str) -> Tiny:
    """The family's entry in the table."""
    return _TINY[family]


def build(family: str, **changes: Any) -> Any:
    """The family's tiny random model, in evaluation mode; ``changes`` of what its config has."""
    import torch
    import transformers

    torch.manual_seed(0)
    cls = getattr(transformers, _TINY[family].architecture)
    config = cls.config_class(**_TINY[family].config)
    for key, value in changes.items():
        if getattr(config, key, None) is not None:
            setattr(config, key, value)
    return cls(config).eval()


def make(family: str, folder: Path) -> Path:
    """Saves the family's tiny random model with its config; the folder."""
    build(family).save_pretrained(folder)
    return folder


def example_inputs(family: str) -> dict[str, Any]:  # noqa: PLR0911 - one case per kind of input
    """Tensors that the family's model takes, two rows of them."""
    import torch

    case = _TINY[family]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, VOCAB, (2, 6), generator=generator)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(2, *shape, generator=generator)

    match case.inputs:
        case "text":
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        case "text to text":
            return {"input_ids": ids, "decoder_input_ids": ids}
        case "image":
            return {"pixel_values": noise(3, case.size, case.size)}
        case "image and text":
            return {"input_ids": ids, "pixel_values": noise(3, case.size, case.size)}
        case "spectrogram":
            return {"input_values": noise(case.size, case.config["num_mel_bins"])}
        case "waveform":
            return {"input_values": noise(case.size)}
        case "speech to text":
            return {"input_features": noise(case.config["num_mel_bins"], case.size), "decoder_input_ids": ids}
