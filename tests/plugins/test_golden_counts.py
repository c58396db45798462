"""Parameter counts of published method and model pairs, from the models' configs and headers alone.

The figures are the fixed budgets of arXiv 2306.02320 for T5 1.1 and BLOOM.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from studio.api import Site
from studio.models.header import TensorInfo
from studio.models.sites import sites_of
from studio.models.where import select
from tests.helpers import peft_oracle as oracle

SELF = 'path != "*EncDecAttention*"'
POOL = {"budget": 10**9, "mode": "paper", "new_share": 1}


@dataclass(frozen=True)
class Published:
    """A model's config and what the paper's table counts on it."""

    config: Mapping[str, Any]
    lora: int
    adapter: int
    prompt: int
    bias: int


def t5(d: int, d_ff: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "t5", "d_model": d, "d_ff": d_ff, "d_kv": 64, "num_layers": layers, "num_decoder_layers": layers,
        "num_heads": heads, "vocab_size": 32_128, "tie_word_embeddings": False, "is_encoder_decoder": True,
    }  # fmt: skip


def bloom(d: int, layers: int, heads: int) -> dict[str, Any]:
    return {"model_type": "bloom", "hidden_size": d, "n_layer": layers, "n_head": heads, "vocab_size": 250_880}


PUBLISHED = {
    "t5-v1_1-small": Published(t5(512, 1024, 8, 6), 229_376, 803_584, 51_200, 121_216),
    "t5-v1_1-base": Published(t5(768, 2048, 12, 12), 589_824, 1_807_488, 76_800, 270_208),
    "t5-v1_1-xxl": Published(t5(4096, 10_240, 24, 64), 6_291_456, 19_269_888, 409_600, 2_497_920),
    "bloom-560m": Published(bloom(1024, 24, 16), 786_432, 2_409_600, 102_400, 272_384),
    "bloom-1b1": Published(bloom(1536, 24, 16), 1_179_648, 3_613_824, 153_600, 408_576),
    "bloom-7b1": Published(bloom(4096, 30, 32), 3_932_160, 12_043_680, 409_600, 1_359_872),
}
# Two cells of the paper's table cannot be. bloom-1b1's adapter repeats bloom-560m's 2,409,600, though a bottleneck of
# 24 at twice 24 blocks of width 1536 has 3,613,824. And t5-v1_1-xxl's 2,444,644 biases are no sum of vectors of 4,096,
# 10,240 and 32,128, which are all multiples of 128; the rule that gives the two smaller models gives 2,497,920.
MISPRINTS = {"bloom-1b1": 2_409_600, "t5-v1_1-xxl": 2_444_644}


@pytest.fixture(params=PUBLISHED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def published(name: str) -> Published:
    return PUBLISHED[name]


@pytest.fixture
def sites(published: Published) -> tuple[Site, ...]:
    config = published.config
    shapes = _t5_shapes(config) if config["model_type"] == "t5" else _bloom_shapes(config)
    return sites_of(config, {path: TensorInfo("float32", shape, 0, "") for path, shape in shapes.items()})


def count(use: str, params: Mapping[str, Any], sites: Sequence[Site], where: str) -> int:
    return oracle.count(use, params, select(sites, where))


def test_that_lora_of_rank_eight_counts_as_published(published: Published, sites: tuple[Site, ...]) -> None:
    where = f"role in (q, v, qkv) and {SELF}"
    assert count("lora", {"rank": 8}, sites, where) == published.lora
    assert count("apet", POOL | {"bottleneck": 0}, sites, where) == published.lora


def test_that_two_adapters_of_width_24_a_block_count_as_published(
    published: Published, sites: tuple[Site, ...]
) -> None:
    assert count("apet", POOL | {"rank": 0}, sites, f"role in (o, fc2, down) and {SELF}") == published.adapter


def test_that_a_prompt_of_100_tokens_counts_as_published(published: Published, sites: tuple[Site, ...]) -> None:
    assert count("prompt-tuning", {"tokens": 100}, sites, "kind == model") == published.prompt
    assert count("apet", POOL | {"prompt_tokens": 100}, sites, "kind == model") == published.prompt


def test_that_the_biases_count_as_published(name: str, published: Published, sites: tuple[Site, ...]) -> None:
    """BLOOM has them all; the T5 table counts those that its maps, norms and head lack, but for cross-attention."""
    if name.startswith("bloom"):
        assert count("bitfit", {}, sites, "kind in (linear, norm)") == published.bias
        return
    lacking = select(sites, f"(kind in (linear, norm) or role == head) and {SELF}")
    assert not any(site.has_bias for site in sites)
    assert sum(site.d_out for site in lacking) == published.bias


def test_that_the_two_misprints_of_the_table_are_not_what_the_models_have() -> None:
    assert MISPRINTS["bloom-1b1"] == PUBLISHED["bloom-560m"].adapter != PUBLISHED["bloom-1b1"].adapter
    assert [size % 128 for size in (4096, 10_240, 32_128, MISPRINTS["t5-v1_1-xxl"])] == [0, 0, 0, 100]


def _t5_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    d, d_ff, inner = config["d_model"], config["d_ff"], config["num_heads"] * config["d_kv"]
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (32_128, d), "lm_head.weight": (32_128, d)}
    for stack, attentions in (("encoder", ["SelfAttention"]), ("decoder", ["SelfAttention", "EncDecAttention"])):
        shapes[f"{stack}.final_layer_norm.weight"] = (d,)
        shapes[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = (32, config["num_heads"])
        for i in range(config["num_layers"]):
            for j, attention in enumerate(attentions):
                layer = f"{stack}.block.{i}.layer.{j}"
                shapes |= {f"{layer}.{attention}.{role}.weight": (inner, d) for role in "qkv"}
                shapes |= {f"{layer}.{attention}.o.weight": (d, inner), f"{layer}.layer_norm.weight": (d,)}
            layer = f"{stack}.block.{i}.layer.{len(attentions)}"
            shapes |= {f"{layer}.DenseReluDense.{map_}.weight": (d_ff, d) for map_ in ("wi_0", "wi_1")}
            shapes |= {f"{layer}.DenseReluDense.wo.weight": (d, d_ff), f"{layer}.layer_norm.weight": (d,)}
    return shapes


def _bloom_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    d = config["hidden_size"]
    maps = {
        "self_attention.query_key_value": (3 * d, d), "self_attention.dense": (d, d), "mlp.dense_h_to_4h": (4 * d, d),
        "mlp.dense_4h_to_h": (d, 4 * d), "input_layernorm": (d,), "post_attention_layernorm": (d,),
    }  # fmt: skip
    modules = {"word_embeddings": (250_880, d), "word_embeddings_layernorm": (d,), "ln_f": (d,)}
    modules |= {f"h.{i}.{path}": shape for i in range(config["n_layer"]) for path, shape in maps.items()}
    shapes = {f"transformer.{path}.weight": shape for path, shape in modules.items()}
    return shapes | {
        f"transformer.{path}.bias": shape[:1] for path, shape in modules.items() if path != "word_embeddings"
    }
