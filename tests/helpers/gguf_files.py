"""A tiny LLaMA as GGUF, with a byte-level tokenizer and a chat template."""

from pathlib import Path

import numpy as np

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, LAYERS, VOCAB = 64, 96, 4, 2, 2, 320
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def write_tiny_gguf(file: Path, *, split_count: int = 1, type_: str = "model", architecture: str = "llama") -> Path:
    """The file; its weights are small random numbers in float32."""
    from gguf import GGUFWriter

    writer = GGUFWriter(file, architecture)
    writer.add_type(type_)
    writer.add_license("mit")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(VOCAB)
    if split_count > 1:
        writer.add_uint16("split.count", split_count)
    _add_tokenizer(writer)
    random = np.random.default_rng(0)
    for name, shape in _shapes().items():
        ones = np.ones(shape, dtype=np.float32)
        writer.add_tensor(name, ones if len(shape) == 1 else random.normal(0, 0.05, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _shapes() -> dict[str, tuple[int, ...]]:
    keys = HIDDEN * KV_HEADS // HEADS
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (VOCAB, HIDDEN), "output_norm.weight": (HIDDEN,)}
    for i in range(LAYERS):
        shapes |= {
            f"blk.{i}.attn_norm.weight": (HIDDEN,),
            f"blk.{i}.attn_q.weight": (HIDDEN, HIDDEN),
            f"blk.{i}.attn_k.weight": (keys, HIDDEN),
            f"blk.{i}.attn_v.weight": (keys, HIDDEN),
            f"blk.{i}.attn_output.weight": (HIDDEN, HIDDEN),
            f"blk.{i}.ffn_norm.weight": (HIDDEN,),
            f"blk.{i}.ffn_gate.weight": (INTERMEDIATE, HIDDEN),
            f"blk.{i}.ffn_up.weight": (INTERMEDIATE, HIDDEN),
            f"blk.{i}.ffn_down.weight": (HIDDEN, INTERMEDIATE),
        }
    return shapes


def _add_tokenizer(writer: object) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    tokens = ["<|end|>", *alphabet, "he", "ll", "llo", "hello", "12"]
    tokens += [f"<|spare{i}|>" for i in range(VOCAB - len(tokens))]
    writer.add_tokenizer_model("gpt2")  # type: ignore[attr-defined]
    writer.add_tokenizer_pre("smollm")  # type: ignore[attr-defined]
    writer.add_token_list(tokens)  # type: ignore[attr-defined]
    kinds = [3 if token.startswith("<|") else 1 for token in tokens]
    writer.add_token_types(kinds)  # type: ignore[attr-defined]
    writer.add_token_merges(["h e", "l l", "ll o", "he llo", "1 2"])  # type: ignore[attr-defined]
    writer.add_bos_token_id(0)  # type: ignore[attr-defined]
    writer.add_eos_token_id(0)  # type: ignore[attr-defined]
    writer.add_add_bos_token(False)  # type: ignore[attr-defined]
    writer.add_chat_template(TEMPLATE)  # type: ignore[attr-defined]
