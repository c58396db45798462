"""Sites found without torch, checked against the real modules of tiny models of every family."""

from pathlib import Path
from typing import Any

import pytest

from studio.api import Site
from studio.models.families import FAMILIES
from studio.models.inspect import inspect_model
from studio.models.sites import find_sites

SIZE = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
GQA = {**SIZE, "num_key_value_heads": 2}
WIDE = {**GQA, "head_dim": 16}  # head_dim x heads is not hidden
GPT = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
SEQ2SEQ = {
    "vocab_size": 96, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
}  # fmt: skip
T5 = {"vocab_size": 96, "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4}
DEBERTA = {
    **SIZE, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": False,
    "norm_rel_ebd": "layer_norm", "position_buckets": 8,
}  # fmt: skip
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

# model_type -> class, config, the roles that every block has
BLOCK = "q k v o norm1 norm2 "
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama": ("LlamaForCausalLM", {**GQA, "attention_bias": True}, BLOCK + "gate up down"),
    "mistral": ("MistralForCausalLM", GQA, BLOCK + "gate up down"),
    "qwen2": ("Qwen2ForCausalLM", GQA, BLOCK + "gate up down"),
    "qwen3": ("Qwen3ForCausalLM", WIDE, BLOCK + "gate up down q_norm k_norm"),
    "gemma": ("GemmaForCausalLM", WIDE, BLOCK + "gate up down"),
    "gemma2": ("Gemma2ForCausalLM", WIDE, BLOCK + "gate up down norm1_post norm2_post"),
    "gemma3_text": ("Gemma3ForCausalLM", WIDE, BLOCK + "gate up down norm1_post norm2_post q_norm k_norm"),
    "phi": ("PhiForCausalLM", SIZE, "q k v o norm1 fc1 fc2"),
    "phi3": ("Phi3ForCausalLM", {**GQA, **SPECIAL}, "qkv o norm1 norm2 gate_up down"),
    "smollm3": ("SmolLM3ForCausalLM", {**GQA, **SPECIAL}, BLOCK + "gate up down"),
    "olmo": ("OlmoForCausalLM", {**SIZE, **SPECIAL}, "q k v o gate up down"),
    "olmo2": ("Olmo2ForCausalLM", {**SIZE, **SPECIAL}, BLOCK + "gate up down q_norm k_norm"),
    "olmo3": ("Olmo3ForCausalLM", {**SIZE, **SPECIAL}, BLOCK + "gate up down q_norm k_norm"),
    "granite": ("GraniteForCausalLM", SIZE, BLOCK + "gate up down"),
    "cohere": ("CohereForCausalLM", {**SIZE, **SPECIAL}, "q k v o norm1 gate up down"),
    "cohere2": ("Cohere2ForCausalLM", {**SIZE, **SPECIAL}, "q k v o norm1 gate up down"),
    "starcoder2": ("Starcoder2ForCausalLM", {**GQA, **SPECIAL}, BLOCK + "fc1 fc2"),
    "stablelm": ("StableLmForCausalLM", GQA, BLOCK + "gate up down"),
    "gpt2": ("GPT2LMHeadModel", {**GPT, **SPECIAL}, "qkv o norm1 norm2 fc1 fc2"),
    "gpt_bigcode": ("GPTBigCodeForCausalLM", {**GPT, **SPECIAL}, "qkv o norm1 norm2 fc1 fc2"),
    "gpt_neo": (
        "GPTNeoForCausalLM",
        {**SPECIAL, "vocab_size": 96, "hidden_size": 32, "num_layers": 2, "num_heads": 4,
         "attention_types": [[["global", "local"], 1]]},
        BLOCK + "fc1 fc2",
    ),
    "gptj": ("GPTJForCausalLM", {**GPT, **SPECIAL, "rotary_dim": 4}, "q k v o norm1 fc1 fc2"),
    "gpt_neox": ("GPTNeoXForCausalLM", {**SIZE, **SPECIAL}, "qkv o norm1 norm2 fc1 fc2"),
    "opt": (
        "OPTForCausalLM",
        {"vocab_size": 96, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "word_embed_proj_dim": 16, "max_position_embeddings": 64},
        BLOCK + "fc1 fc2",
    ),
    "bloom": ("BloomForCausalLM", {"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4},
              "qkv o norm1 norm2 fc1 fc2"),
    "falcon": ("FalconForCausalLM", {**SIZE, **SPECIAL}, "qkv o norm1 fc1 fc2"),
    "mpt": ("MptForCausalLM", {"vocab_size": 96, "d_model": 32, "n_layers": 2, "n_heads": 4},
            "qkv o norm1 norm2 fc1 fc2"),
    "bert": ("BertModel", SIZE, BLOCK + "fc1 fc2"),
    "roberta": ("RobertaForMaskedLM", SIZE, BLOCK + "fc1 fc2"),
    "xlm-roberta": ("XLMRobertaForMaskedLM", SIZE, BLOCK + "fc1 fc2"),
    "camembert": ("CamembertForMaskedLM", SIZE, BLOCK + "fc1 fc2"),
    "distilbert": (
        "DistilBertForMaskedLM",
        {"vocab_size": 96, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4},
        BLOCK + "fc1 fc2",
    ),
    "electra": ("ElectraForPreTraining", {**SIZE, "embedding_size": 16}, BLOCK + "fc1 fc2"),
    "modernbert": ("ModernBertForMaskedLM", {**SIZE, **SPECIAL, "cls_token_id": 1, "sep_token_id": 2},
                   "qkv o norm2 gate_up down"),
    "deberta-v2": ("DebertaV2ForMaskedLM", DEBERTA, BLOCK + "fc1 fc2 pos_q pos_k"),
    "t5": ("T5ForConditionalGeneration", T5, BLOCK + "fc1 fc2"),
    "mt5": ("MT5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu"}, BLOCK + "gate up down"),
    "bart": ("BartForConditionalGeneration", SEQ2SEQ, BLOCK + "fc1 fc2"),
    "mbart": ("MBartForConditionalGeneration", SEQ2SEQ, BLOCK + "fc1 fc2"),
    "pegasus": ("PegasusForConditionalGeneration", SEQ2SEQ, BLOCK + "fc1 fc2"),
}  # fmt: skip
MIXTURES = {
    "mixtral": ("MixtralForCausalLM", {**GQA, "num_local_experts": 2, "num_experts_per_tok": 1}, "q k v o"),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        {**GQA, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16},
        "q k v o",
    ),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Builds a family's tiny model once and saves it: (model, folder)."""
    import transformers

    built: dict[str, tuple[Any, Path]] = {}

    def build(family: str) -> tuple[Any, Path]:
        if family not in built:
            architecture, config, _ = {**CASES, **MIXTURES}[family]
            cls = getattr(transformers, architecture)
            model = cls(cls.config_class(**config))
            folder = tmp_path_factory.mktemp(family)
            model.save_pretrained(folder)
            built[family] = (model, folder)
        return built[family]

    return build


def modules_of(model: Any) -> dict[str, Any]:
    """Modules by canonical path; "" is the backbone."""
    prefix = f"{model.base_model_prefix}."
    named = dict(model.named_modules())
    below = {name.removeprefix(prefix): module for name, module in named.items() if name.startswith(prefix)}
    return {**named, "": model.base_model, **below}


def test_that_every_family_is_checked() -> None:
    assert set(FAMILIES) == set(CASES)


@pytest.mark.parametrize("family", [*CASES, *MIXTURES])
def test_that_each_site_is_the_module_it_says(family: str, saved: Any) -> None:
    model, folder = saved(family)
    modules = modules_of(model)
    for site in find_sites(folder):
        module = modules[site.path]
        if site.kind in ("block", "attention", "model"):
            continue
        assert tuple(module.weight.shape) == site.shape, site
        assert (getattr(module, "bias", None) is not None) == site.has_bias, site
        check_sizes(site, module)
        assert site.role != "other", site


def check_sizes(site: Site, module: Any) -> None:
    kind = type(module).__name__
    if hasattr(module, "in_features"):
        assert (site.kind, site.transposed) == ("linear", False)
        assert (site.d_in, site.d_out) == (module.in_features, module.out_features)
    elif kind == "Conv1D":
        assert (site.kind, site.transposed) == ("linear", True)
        assert (site.d_in, site.d_out) == (module.nx, module.nf)
    elif hasattr(module, "num_embeddings"):
        assert site.kind == "embedding"
        assert (site.d_in, site.d_out) == (module.num_embeddings, module.embedding_dim)
    else:
        assert "Norm" in kind
        assert (site.kind, site.d_in) == ("norm", module.weight.numel())


@pytest.mark.parametrize("family", CASES)
def test_that_every_module_with_a_weight_is_a_site(family: str, saved: Any) -> None:
    import torch

    model, folder = saved(family)
    paths = {site.path for site in find_sites(folder)}
    backbone = model.base_model
    for name, module in backbone.named_modules():
        if isinstance(getattr(module, "weight", None), torch.nn.Parameter) and module.weight.requires_grad:
            path = name if backbone is not model else name.removeprefix(f"{model.base_model_prefix}.")
            assert path in paths, f"{family}: {name} ({type(module).__name__})"


@pytest.mark.parametrize("family", CASES)
def test_that_every_block_has_the_roles_of_its_family(family: str, saved: Any) -> None:
    sites = find_sites(saved(family)[1])
    expected = set(CASES[family][2].split())
    layers = {site.layer for site in sites if site.layer is not None}
    assert layers == set(range(len(layers)))
    for layer in layers:
        roles = {site.role for site in sites if site.layer == layer}
        assert expected <= roles, (layer, expected - roles)
        assert not {"q", "qkv"} <= roles
        assert sum(site.kind == "block" for site in sites if site.layer == layer) == 1
        assert any(site.kind == "attention" for site in sites if site.layer == layer)


@pytest.mark.parametrize("family", CASES)
def test_that_parameters_and_ties_are_counted_as_torch_counts_them(family: str, saved: Any) -> None:
    model, folder = saved(family)
    facts = inspect_model(folder)
    assert facts.params == sum(p.numel() for p in model.parameters())
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if facts.kind != "encoder":
        assert facts.tied_embeddings == (head.weight is embedding.weight)
    assert (facts.hidden, facts.heads, facts.vocab) == (32, 4, 96)
    assert facts.architecture == CASES[family][0]
    assert facts.model_type == family


@pytest.mark.parametrize("family", MIXTURES)
def test_that_the_parameters_of_experts_are_counted(family: str, saved: Any) -> None:
    model, folder = saved(family)
    assert inspect_model(folder).params == sum(p.numel() for p in model.parameters())


def test_that_a_shared_tensor_is_offered_through_every_module_that_uses_it(saved: Any) -> None:
    model, folder = saved("t5")
    modules = modules_of(model)
    tied = {site.path: site.tied_to for site in find_sites(folder) if site.tied_to}
    assert tied == dict.fromkeys(("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"), "shared")
    for path, owner in tied.items():
        assert modules[path].weight is modules[owner].weight


def test_that_a_backbone_saved_alone_has_the_same_sites(saved: Any, tmp_path: Path) -> None:
    model, folder = saved("gpt2")
    model.base_model.save_pretrained(tmp_path)
    assert find_sites(tmp_path) == find_sites(folder)
