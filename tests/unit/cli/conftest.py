"""A command line that tests can call, and a small model made without torch."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.cli.app import run
from tests.helpers.tiny import make_questions, make_tokenizer

LAYERS, HIDDEN, INNER, VOCAB = 2, 32, 64, 64


@dataclass(frozen=True)
class Answer:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Answer]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run ``pet-studio`` with these arguments in this process."""

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Answer(code, out, err)

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A Llama in kilobytes: config, weights, tokenizer."""
    from safetensors.numpy import save_file

    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    sizes = {
        "q_proj": (HIDDEN, HIDDEN), "k_proj": (16, HIDDEN), "v_proj": (16, HIDDEN), "o_proj": (HIDDEN, HIDDEN),
        "gate_proj": (INNER, HIDDEN), "up_proj": (INNER, HIDDEN), "down_proj": (HIDDEN, INNER),
    }  # fmt: skip
    tensors = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        for name, size in sizes.items():
            part = "mlp" if name in ("gate_proj", "up_proj", "down_proj") else "self_attn"
            tensors[f"model.layers.{layer}.{part}.{name}.weight"] = size
        tensors[f"model.layers.{layer}.input_layernorm.weight"] = (HIDDEN,)
        tensors[f"model.layers.{layer}.post_attention_layernorm.weight"] = (HIDDEN,)
    save_file({name: np.zeros(size, np.float32) for name, size in tensors.items()}, folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "tie_word_embeddings": True, "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    make_tokenizer(folder)
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A small dataset."""
    return make_questions(tmp_path / "questions.jsonl")
