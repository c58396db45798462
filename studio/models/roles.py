"""The role of a module from its path: what it does (q, up, norm1, …) instead of how it is called."""

from collections.abc import Mapping

# by the tail of the path below a block: the longest tail that matches wins
IN_BLOCK: dict[str, str] = {
    # attention
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "out_proj": "o",
    "qkv_proj": "qkv", "Wqkv": "qkv", "c_attn": "qkv", "query_key_value": "qkv",
    "query": "q", "key": "k", "value": "v", "query_proj": "q", "key_proj": "k", "value_proj": "v",
    "q_lin": "q", "k_lin": "k", "v_lin": "v", "out_lin": "o",
    "SelfAttention.q": "q", "SelfAttention.k": "k", "SelfAttention.v": "v", "SelfAttention.o": "o",
    "EncDecAttention.q": "q", "EncDecAttention.k": "k", "EncDecAttention.v": "v", "EncDecAttention.o": "o",
    "attn.c_proj": "o", "attn.Wo": "o", "attn.out_proj": "o",
    "attention.output.dense": "o", "attention.dense": "o", "self_attention.dense": "o",
    "pos_key_proj": "pos_k", "pos_query_proj": "pos_q", "relative_attention_bias": "pos_embed",
    # feed-forward
    "gate_proj": "gate", "up_proj": "up", "down_proj": "down", "gate_up_proj": "gate_up",
    "fc1": "fc1", "fc2": "fc2", "fc_in": "fc1", "fc_out": "fc2", "c_fc": "fc1", "mlp.c_proj": "fc2",
    "dense_h_to_4h": "fc1", "dense_4h_to_h": "fc2", "intermediate.dense": "fc1", "output.dense": "fc2",
    "lin1": "fc1", "lin2": "fc2", "mlp.Wi": "gate_up", "mlp.Wo": "down",
    "wi": "fc1", "wi_0": "gate", "wi_1": "up", "wo": "fc2", "ffn.up_proj": "fc1", "ffn.down_proj": "fc2",
    "intermediate_dense": "fc1", "output_dense": "fc2", "pwconv1": "fc1", "pwconv2": "fc2",
    "experts.gate_up_proj": "expert_gate_up", "experts.down_proj": "expert_down",
    # norms
    "q_norm": "q_norm", "k_norm": "k_norm", "q_layernorm": "q_norm", "k_layernorm": "k_norm",
    "input_layernorm": "norm1", "ln_1": "norm1", "attn_norm": "norm1", "ln_attn": "norm1", "norm_1": "norm1",
    "self_attn_layer_norm": "norm1", "sa_layer_norm": "norm1", "attention.output.LayerNorm": "norm1",
    "post_attention_layernorm": "norm2", "ln_2": "norm2", "mlp_norm": "norm2", "ln_mlp": "norm2", "norm_2": "norm2",
    "output_layer_norm": "norm2", "output.LayerNorm": "norm2", "final_layer_norm": "norm2",
    "encoder_attn_layer_norm": "norm_cross",
    "layernorm_before": "norm1", "layernorm_after": "norm2", "layer_norm1": "norm1", "layer_norm2": "norm2",
    "layer_norm": "norm1", "layernorm": "norm1", "normalization": "conv_norm",
}  # fmt: skip

OUTSIDE: dict[str, str] = {
    "embed_tokens": "embed", "wte": "embed", "word_embeddings": "embed", "shared": "embed", "embed_in": "embed",
    "tok_embeddings": "embed", "token_embedding": "embed",
    "wpe": "pos_embed", "position_embeddings": "pos_embed", "embed_positions": "pos_embed",
    "position_embedding": "pos_embed",
    "rel_embeddings": "pos_embed", "token_type_embeddings": "type_embed",
    "embeddings.LayerNorm": "embed_norm", "embeddings.norm": "embed_norm", "word_embeddings_layernorm": "embed_norm",
    "layernorm_embedding": "embed_norm", "embeddings.layernorm": "embed_norm", "pre_layrnorm": "embed_norm",
    "feature_projection.layer_norm": "embed_norm", "encoder.LayerNorm": "pos_norm",
    "embeddings_project": "embed_proj", "embed_proj": "embed_proj", "project_in": "embed_proj",
    "feature_projection.projection": "embed_proj",
    "project_out": "head_proj", "text_projection": "head_proj", "visual_projection": "head_proj",
    "norm": "norm", "ln_f": "norm", "norm_f": "norm", "final_layer_norm": "norm", "final_layernorm": "norm",
    "final_norm": "norm", "layer_norm": "norm", "layernorm": "norm", "post_layernorm": "norm",
    "normalization": "conv_norm",
    "downsample.norm": "stage_norm", "downsample.reduction": "stage_proj", "downsampling_layer.0": "stage_norm",
    "lm_head": "head", "embed_out": "head", "proj_out": "head",
    "pooler.dense": "pooler",
}  # fmt: skip

EMBEDDINGS = frozenset({"embed", "pos_embed", "type_embed"})
EXPERTS = frozenset({"expert_gate_up", "expert_down"})

# the order in which a block's sites are listed
ORDER = (
    "embed", "patch_embed", "pos_embed", "type_embed", "embed_norm", "embed_proj", "stage_norm", "stage_proj",
    "block", "conv", "conv_norm", "norm1", "attention", "q", "k", "v", "qkv", "q_norm", "k_norm", "pos_q", "pos_k", "o",
    "norm1_post", "norm_cross", "norm2", "ffn", "router", "gate", "up", "gate_up", "fc1", "down", "fc2",
    "expert_gate_up", "expert_down", "norm2_post",
    "other", "pos_norm", "norm", "pooler", "head_proj", "head",
)  # fmt: skip


def find_role(path: str, *, in_block: bool, overrides: Mapping[str, str]) -> str | None:
    """The role by the tables; ``path`` is the module's, without the block's name and number where it lies in one."""
    table = IN_BLOCK if in_block else OUTSIDE
    for tail in _tails(path):
        role = overrides.get(tail) or table.get(tail)
        if role:
            return role
    return None


def guess_role(path: str, shape: tuple[int, ...], vocab: int, *, in_block: bool) -> str:
    """The role of a module that no table knows, by the words of its name and its shape."""
    name = path.rsplit(".", 1)[-1].lower()
    if len(shape) == 1:
        return "other" if in_block else "norm"
    if len(shape) > 2:
        return "patch_embed" if "patch_embed" in path else "conv"
    if "embed" in name or (not in_block and shape[0] == vocab and "head" not in name):
        return "pos_embed" if "pos" in name else "embed"
    for role, words in _WORDS.items():
        if any(word in name for word in words):
            return role
    return "other"


_WORDS: dict[str, tuple[str, ...]] = {
    "qkv": ("qkv",),
    "q": ("query", "q_proj", "wq"),
    "k": ("key", "k_proj", "wk"),
    "v": ("value", "v_proj", "wv"),
    "o": ("o_proj", "out_proj", "attn_out"),
    "gate": ("gate",),
    "up": ("up_proj",),
    "down": ("down",),
}


def _tails(path: str) -> list[str]:
    """``a.b.c`` -> ``a.b.c``, ``b.c``, ``c``."""
    parts = path.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]
