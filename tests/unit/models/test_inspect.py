"""Facts of models from config and header: every family's words, every refusal, and speed at 70 B."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import UserError
from studio.models.config import check_supported
from studio.models.header import INDEX, TensorInfo
from studio.models.inspect import inspect_config, inspect_model
from studio.models.sites import find_sites, notice, notice_of, sites_of
from tests.helpers.weights import LLAMA, Shapes, llama_shapes, write_llama, write_safetensors


def header_of(shapes: Shapes) -> dict[str, TensorInfo]:
    return {name: TensorInfo("bfloat16", shape, 0, "model.safetensors") for name, shape in shapes.items()}


def test_that_the_facts_of_a_llama_are_complete(tmp_path: Path) -> None:
    facts = inspect_model(write_llama(tmp_path / "Tiny"))
    shown = facts.model_dump(exclude={"path", "fingerprint"})
    assert shown == {
        "name": "Tiny", "architecture": "LlamaForCausalLM", "model_type": "llama", "kind": "decoder",
        "params": 21664, "weight_bytes": 43328, "dtype": "bfloat16", "layers": 2, "hidden": 32, "intermediate": 48,
        "heads": 4, "kv_heads": 2, "head_dim": 8, "vocab": 96, "max_positions": 128, "tied_embeddings": False,
        "gated_mlp": True, "active_experts": 1, "relative_positions": 0, "has_chat_template": False, "license": "",
    }  # fmt: skip
    assert len(facts.fingerprint) == 64


def test_that_a_tensor_stored_under_two_names_is_counted_once() -> None:
    untied, tied = (
        inspect_config(LLAMA, header_of(llama_shapes())),
        inspect_config({**LLAMA, "tie_word_embeddings": True}, header_of(llama_shapes())),
    )
    assert untied.params - tied.params == 96 * 32
    assert tied.tied_embeddings


def test_that_buffers_are_no_parameters() -> None:
    buffers = {"model.layers.0.self_attn.rotary_emb.inv_freq": (4,), "model.embeddings.position_ids": (1, 128)}
    plain = inspect_config(LLAMA, header_of(llama_shapes()))
    assert inspect_config(LLAMA, header_of({**llama_shapes(), **buffers})).params == plain.params


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"n_embd": 8, "n_head": 2, "n_positions": 64, "n_inner": None},
            {"hidden": 8, "heads": 2, "max_positions": 64},
        ),
        ({"d_model": 8, "num_heads": 2, "d_kv": 16}, {"hidden": 8, "heads": 2, "head_dim": 16}),
        ({"hidden_size": 8, "num_attention_heads": 4, "multi_query": True}, {"kv_heads": 1, "head_dim": 2}),
        ({"hidden_size": 8, "num_attention_heads": 4}, {"kv_heads": 4, "intermediate": 32}),
        ({"hidden_size": 8, "model_type": "roberta", "max_position_embeddings": 514}, {"max_positions": 512}),
        ({"text_config": {"hidden_size": 8, "num_attention_heads": 2}}, {"hidden": 8, "heads": 2}),
    ],
)
def test_that_each_familys_words_for_a_size_are_known(config: dict[str, Any], expected: dict[str, int]) -> None:
    facts = inspect_config({"model_type": "other", **config}, header_of({"embed_tokens.weight": (10, 8)}))
    assert {name: getattr(facts, name) for name in expected} == expected


def test_that_chat_template_licence_and_limit_come_from_their_files(tmp_path: Path) -> None:
    folder = write_llama(tmp_path / "m")
    (folder / "config.json").write_text(json.dumps({k: v for k, v in LLAMA.items() if k != "max_position_embeddings"}))
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ x }}", "model_max_length": 512}')
    (folder / "README.md").write_text("---\ntags: [a]\nlicense: 'mit'\n---\nlicense: no\n")
    facts = inspect_model(folder)
    assert (facts.has_chat_template, facts.license, facts.max_positions) == (True, "mit", 512)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such file or folder"),
        (lambda p: p.mkdir(), "no config.json"),
        (lambda p: p.write_bytes(b"x"), "is no model"),
        (lambda p: (p.mkdir(), (p / "config.json").write_text("{")), "not valid JSON"),
        (lambda p: (p.mkdir(), (p / "config.json").write_text("[]")), "not a JSON object"),
        (lambda p: (p.mkdir(), (p / "config.json").write_text("{}")), "there are no weights"),
        (lambda p: (p.mkdir(), (p / "adapter_config.json").write_text("{}")), "holds an adapter"),
    ],
)
def test_that_each_refusal_names_the_place_and_the_remedy(tmp_path: Path, make: Any, words: str) -> None:
    path = tmp_path / "model.zip"
    make(path)
    with pytest.raises(UserError, match=words) as caught:
        inspect_model(path)
    assert str(path) in caught.value.where
    assert caught.value.hint


def test_that_a_gguf_file_is_sent_to_the_library(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(UserError, match="converted once"):
        inspect_model(file)


def test_that_old_names_of_norms_are_understood() -> None:
    names = {"bert.embeddings.LayerNorm.gamma": (32,), "bert.embeddings.LayerNorm.beta": (32,)}
    (site,) = (s for s in sites_of({"model_type": "bert", "hidden_size": 32}, header_of(names)) if s.kind == "norm")
    assert (site.path, site.role, site.has_bias) == ("embeddings.LayerNorm", "embed_norm", True)


def test_that_a_model_of_images_and_text_is_no_encoder_decoder() -> None:
    config = {"model_type": "llava_next", "architectures": ["LlavaNextForConditionalGeneration"]}
    header = header_of({"model.language_model.embed_tokens.weight": (10, 8)})
    assert inspect_config(config, header).kind == "other"
    assert inspect_config({**config, "is_encoder_decoder": True}, header).kind == "encoder-decoder"


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("NovaForImageClassification", "vision"), ("NovaForCTC", "audio"), ("NovaModel", "other")],
)
def test_that_the_class_of_an_unknown_architecture_tells_what_it_reads(architecture: str, kind: str) -> None:
    header = header_of({"stem.weight": (8, 3, 4, 4), "blocks.0.fc1.weight": (16, 8)})
    facts = inspect_config({"model_type": "nova", "architectures": [architecture]}, header)
    assert (facts.kind, facts.layers) == (kind, 1)


def test_that_models_with_their_own_code_are_refused_unless_transformers_has_them() -> None:
    with pytest.raises(UserError, match="auto_map"):
        check_supported({"model_type": "homemade", "auto_map": {"AutoModel": "m.M"}}, "config.json")
    check_supported({"model_type": "phi3", "auto_map": {"AutoModel": "m.M"}}, "config.json")


def test_that_quantised_weights_are_refused_with_their_method() -> None:
    with pytest.raises(UserError, match="gptq"):
        check_supported({"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}, "config.json")


def test_that_an_unknown_architecture_gets_guessed_sites_and_a_notice(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    config = {"model_type": "nova", "architectures": ["NovaForCausalLM"], "vocab_size": 96, "hidden_size": 32}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {
        "nova.tok.weight": (96, 32), "nova.blocks.0.mixer.wq.weight": (32, 32), "nova.blocks.0.norm_a.weight": (32,),
        "nova.blocks.0.strange.weight": (16, 32), "nova.out_norm.weight": (32,), "nova.blocks.0.conv.weight": (4, 4, 3),
        "lm_head.weight": (96, 32),
    }  # fmt: skip
    write_safetensors(folder / "model.safetensors", shapes)
    roles = {site.path: (site.kind, site.role, site.layer) for site in find_sites(folder) if site.shape}
    assert roles == {
        "tok": ("embedding", "embed", None),
        "blocks.0.mixer.wq": ("linear", "q", 0),
        "blocks.0.norm_a": ("norm", "other", 0),
        "blocks.0.strange": ("linear", "other", 0),
        "blocks.0.conv": ("conv", "conv", 0),
        "out_norm": ("norm", "norm", None),
        "lm_head": ("linear", "head", None),
    }
    assert "guessed" in (notice(folder) or "")
    assert inspect_model(folder).kind == "decoder"
    assert notice(write_llama(tmp_path / "known")) is None


EXPERTS = {
    "model.layers.0.mlp.gate.weight": (2, 32),
    **{f"model.layers.0.mlp.experts.{i}.{name}_proj.weight": (16, 32) for i in range(2) for name in ("gate", "up")},
    **{f"model.layers.0.mlp.experts.{i}.down_proj.weight": (32, 16) for i in range(2)},
}


def test_that_experts_are_found_alike_in_single_tensors_and_in_fused_ones() -> None:
    config = {**LLAMA, "model_type": "qwen3_moe", "num_experts": 2}
    fused = {
        "model.layers.0.mlp.gate.weight": (2, 32),
        "model.layers.0.mlp.experts.gate_up_proj": (2, 32, 32),
        "model.layers.0.mlp.experts.down_proj": (2, 32, 16),
    }
    single, joint = (header_of({**llama_shapes(), **shapes}) for shapes in (EXPERTS, fused))
    assert sites_of(config, single) == sites_of(config, joint)
    assert inspect_config(config, single).params == inspect_config(config, joint).params
    found = {site.role: (site.copies, site.d_in, site.d_out) for site in sites_of(config, single) if site.copies > 1}
    assert found == {"expert_gate_up": (2, 32, 32), "expert_down": (2, 16, 32)}


def test_that_experts_of_an_unknown_architecture_are_left_out_and_said_so() -> None:
    config = {**LLAMA, "model_type": "nova_moe", "num_experts": 2}
    header = header_of({**llama_shapes(), **EXPERTS})
    assert not [site for site in sites_of(config, header) if "experts" in site.path or site.path.endswith("mlp.gate")]
    assert "experts are not offered" in (notice_of(config) or "")
    assert notice_of({**config, "model_type": "qwen3_moe"}) is None
    plain = inspect_config(LLAMA, header_of(llama_shapes()))
    assert inspect_config(config, header).params == plain.params + 2 * 32 + 6 * 16 * 32


def test_that_a_70_b_model_in_30_shards_is_inspected_in_under_a_tenth_of_a_second(tmp_path: Path) -> None:
    shapes = llama_shapes(layers=80)
    names = list(shapes)
    shards = {f"model-{i:05}-of-00030.safetensors": names[i - 1 :: 30] for i in range(1, 31)}
    for file, held in shards.items():
        write_safetensors(tmp_path / file, {name: shapes[name] for name in held})
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {n: f for f, held in shards.items() for n in held}}))
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": 80}))
    best = min(_timed(tmp_path) for _ in range(3))
    assert best < 0.1
    assert inspect_model(tmp_path).layers == 80


def _timed(folder: Path) -> float:
    start = time.perf_counter()
    inspect_model(folder)
    return time.perf_counter() - start
