"""Model folders without torch: a tiny LLaMA whose safetensors files are written byte by byte."""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96,
    "max_position_embeddings": 128, "tie_word_embeddings": False,
}  # fmt: skip


def llama_shapes(
    layers: int = 2, hidden: int = 32, intermediate: int = 48, vocab: int = 96
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a LLaMA with half as many key-value heads as heads."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for i in range(layers):
        block = f"model.layers.{i}"
        shapes |= {
            f"{block}.self_attn.q_proj.weight": (hidden, hidden),
            f"{block}.self_attn.k_proj.weight": (hidden // 2, hidden),
            f"{block}.self_attn.v_proj.weight": (hidden // 2, hidden),
            f"{block}.self_attn.o_proj.weight": (hidden, hidden),
            f"{block}.mlp.gate_proj.weight": (intermediate, hidden),
            f"{block}.mlp.up_proj.weight": (intermediate, hidden),
            f"{block}.mlp.down_proj.weight": (hidden, intermediate),
            f"{block}.input_layernorm.weight": (hidden,),
            f"{block}.post_attention_layernorm.weight": (hidden,),
        }
    return shapes | {"model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)}


def write_safetensors(file: Path, shapes: Shapes, *, dtype: str = "BF16", item_bytes: int = 2, fill: int = 0) -> None:
    """A safetensors file with these tensors, every byte of them ``fill``."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape) * item_bytes
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes([fill]) * end)


def write_llama(folder: Path, *, tokenizer: bool = True, fill: int = 0) -> Path:
    """A complete tiny LLaMA folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA))
    write_safetensors(folder / "model.safetensors", llama_shapes(), fill=fill)
    if tokenizer:
        (folder / "tokenizer.json").write_text("{}")
    return folder
