"""Tiny real models, tokenizers and datasets: the same files as big ones, in kilobytes."""

import json
from pathlib import Path
from typing import Any

TEXT = """is it the a an of to and in on yes no red blue green big small cat dog sun moon sky sea good bad film book
great awful water fire tree house true false question answer passage"""
WORDS = TEXT.split()


def make_tokenizer(folder: Path, *, bert: bool = False) -> None:
    """A word-level tokenizer with the special tokens of its family."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] if bert else ["<pad>", "<unk>", "<s>", "</s>"]
    vocab = {word: i for i, word in enumerate([*specials, *WORDS, "?", ":", "."])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=specials[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if bert:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 128}
    if bert:
        config |= {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    else:
        config |= {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def make_llama(
    folder: Path, *, layers: int = 2, hidden: int = 32, inner: int | None = None, tied: bool = True, seed: int = 0
) -> Path:
    """A random Llama with its tokenizer; the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=64, hidden_size=hidden, intermediate_size=inner or hidden * 2, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=tied,
        bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    make_tokenizer(folder)
    return folder


def make_bert(folder: Path, *, layers: int = 2, hidden: int = 32, seed: int = 0) -> Path:
    """A random BERT with its tokenizer; the folder."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=64, hidden_size=hidden, intermediate_size=hidden * 2, num_hidden_layers=layers,
        num_attention_heads=4, max_position_embeddings=128, hidden_dropout_prob=0.1,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    make_tokenizer(folder, bert=True)
    return folder


def make_questions(path: Path, rows: int = 60) -> Path:
    """Yes/no questions that a tiny model can learn: the answer is yes exactly for red things."""
    colours, things = ("red", "blue", "green"), ("cat", "dog", "sun", "moon", "house", "tree", "book")
    lines = []
    for i in range(rows):
        colour, thing = colours[i % 3], things[i % 7]
        answer = "yes" if colour == "red" else "no"
        extra = " in the sky" * (i % 4)
        lines.append(json.dumps({"question": f"is the {colour} {thing}{extra} good", "answer": answer}))
    path.write_text("\n".join(lines) + "\n")
    return path


def make_reviews(path: Path, rows: int = 60) -> Path:
    """Labelled texts that a tiny model can learn."""
    lines = ["text,label"]
    for i in range(rows):
        good = i % 2 == 0
        lines.append(f"the {'great' if good else 'awful'} film of the {WORDS[10 + i % 12]},{'pos' if good else 'neg'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def questions_spec(model: Path, data: Path, **train: Any) -> dict[str, Any]:
    """A quick sft spec on the tiny model."""
    return {
        "name": "tiny",
        "model": {"source": f"path:{model}"},
        "data": {
            "source": f"path:{data}",
            "format": "prompt-completion",
            "columns": {"prompt": "{question} ?", "completion": "{answer}"},
            "split": {"eval": 12, "seed": 0},
            "max_length": 32,
        },
        "method": {"placements": [{"use": "lora", "params": {"rank": 4, "alpha": 8}}]},
        "train": {
            "epochs": 100,
            "max_steps": 8,
            "effective_batch": 8,
            "learning_rate": 1e-2,
            "eval_every": 4,
            "save_every": 4,
            **train,
        },
    }
