"""Small data files and model folders with small tokenizers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from studio.datasets.library import DatasetLibrary

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture
def library(tmp_path: Path) -> DatasetLibrary:
    return DatasetLibrary(tmp_path / "datasets")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file: text, bytes, or rows as JSON lines."""

    def write_file(name: str, content: str | bytes | list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def _model(folder: Path, tokenizer: Tokenizer, config: dict[str, Any]) -> Path:
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def byte_model(tmp_path: Path) -> Path:
    """A decoder whose every token is one byte; ids of ASCII are found with ``byte_ids``. Its template is ChatML."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<s>"])
    config = {"eos_token": "<|im_end|>", "pad_token": {"content": "<|im_end|>"}, "chat_template": CHATML}
    return _model(tmp_path / "byte-model", tokenizer, config)


@pytest.fixture
def plain_model(byte_model: Path, tmp_path: Path) -> Path:
    """The same without a chat template, and with a beginning-of-sequence token."""
    tokenizer = Tokenizer.from_file(str(byte_model / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return _model(tmp_path / "plain-model", tokenizer, {"bos_token": "<s>", "eos_token": "<|im_end|>"})


@pytest.fixture
def spaced_model(tmp_path: Path) -> Path:
    """A decoder of the SentencePiece kind, which puts a space before every text. Words are tokens."""
    words = ["<unk>", "</s>", "▁", "▁a", "▁b", "a", "b", ":", "▁yes", "yes"]
    merges = [("▁", "a"), ("▁", "b"), ("y", "e"), ("ye", "s"), ("▁", "yes")]
    vocab = {word: index for index, word in enumerate([*words, "y", "e", "s", "ye"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["</s>"])
    return _model(tmp_path / "spaced-model", tokenizer, {"eos_token": "</s>"})


@pytest.fixture
def word_model(tmp_path: Path) -> Path:
    """An encoder of the BERT kind, saved with the padding and truncation of its own training."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "plot", "very"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(4)
    return _model(
        tmp_path / "word-model", tokenizer, {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    )
