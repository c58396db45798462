"""The size of a classification head is known before the model is loaded."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from studio.core.facts import ModelFacts
from studio.engine.live_paths import head_paths
from studio.service.plan_facts import classification_head_size

SIZES: dict[str, Any] = {
    "hidden_size": 16, "dim": 16, "n_embd": 16, "intermediate_size": 24, "hidden_dim": 24, "ffn_dim": 24,
    "num_hidden_layers": 1, "n_layers": 1, "n_layer": 1, "num_attention_heads": 2, "n_heads": 2, "n_head": 2,
    "num_key_value_heads": 2, "vocab_size": 40, "head_dim": 8, "embedding_size": 16, "word_embed_proj_dim": 16,
    "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "cls_token_id": 0, "sep_token_id": 0,
}  # fmt: skip
FAMILIES = {
    "bert": "encoder", "roberta": "encoder", "xlm-roberta": "encoder", "camembert": "encoder", "electra": "encoder",
    "distilbert": "encoder", "modernbert": "encoder", "deberta-v2": "encoder", "llama": "decoder", "qwen2": "decoder",
    "qwen3": "decoder", "mistral": "decoder", "gpt2": "decoder", "gpt_neox": "decoder", "bloom": "decoder",
    "opt": "decoder",
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_that_the_head_has_the_size_the_plan_counts(family: str) -> None:
    defaults = AutoConfig.for_model(family).to_dict()
    sizes = {name: value for name, value in SIZES.items() if name in defaults}
    config = AutoConfig.for_model(family, **sizes, num_labels=5)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    heads = [model.get_submodule(path) for path in head_paths(model)]
    size = sum(parameter.numel() for head in heads for parameter in head.parameters(recurse=False))
    facts = ModelFacts.model_construct(hidden=16, kind=FAMILIES[family], model_type=family)
    assert size == classification_head_size(facts, 5)
