"""Rows as token ids and loss masks, token for token."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import InvalidSpecError, UserError
from studio.datasets.encode import Encoded, Encoder
from studio.datasets.tokenizer import ModelTokenizer

PROMPT = {"prompt": "q", "completion": "a"}


def encoder(model: Path, format_: str, mapping: dict[str, str], max_length: int = 1000, **more: Any) -> Encoder:
    return Encoder(
        model,
        task=more.get("task", "sft"),
        format=format_,
        mapping=mapping,
        labels=more.get("labels", ()),
        max_length=max_length,
    )


def shown(made: Encoder, encoded: Encoded) -> tuple[str, str]:
    """The whole text, and the trained part of it."""
    assert len(encoded.ids) == len(encoded.trained)
    kept = [id_ for id_, trained in zip(encoded.ids, encoded.trained, strict=True) if trained]
    return made.decode(encoded.ids), made.decode(kept)


def test_that_loss_is_on_the_completion_and_the_end_token_only(byte_model: Path) -> None:
    made = encoder(byte_model, "prompt-completion", PROMPT)
    encoded = made.encode({"q": "2+2=", "a": "4"})
    assert shown(made, encoded) == ("2+2= 4<|im_end|>", " 4<|im_end|>")
    assert encoded.trained == [False] * 4 + [True] * 3
    assert encoded.ids[-1] == made.eos_id == made.pad_id
    assert not encoded.truncated


def test_that_the_tokenizers_own_first_token_is_kept_and_not_trained(plain_model: Path) -> None:
    made = encoder(plain_model, "prompt-completion", PROMPT)
    encoded = made.encode({"q": "q", "a": "a"})
    assert shown(made, encoded) == ("<s>q a<|im_end|>", " a<|im_end|>")
    assert encoded.trained == [False, False, True, True, True]


def test_that_text_trains_every_token(plain_model: Path) -> None:
    made = encoder(plain_model, "text", {"text": "t"})
    assert shown(made, made.encode({"t": "abc"})) == ("<s>abc<|im_end|>", "abc<|im_end|>")


def test_that_a_long_prompt_loses_its_beginning(plain_model: Path) -> None:
    made = encoder(plain_model, "prompt-completion", PROMPT, max_length=8)
    encoded = made.encode({"q": "0123456789", "a": "yes"})
    assert shown(made, encoded) == ("<s>89 yes<|im_end|>", " yes<|im_end|>")
    assert encoded.truncated


def test_that_a_row_that_just_fits_is_not_cut(plain_model: Path) -> None:
    made = encoder(plain_model, "prompt-completion", PROMPT, max_length=8)
    encoded = made.encode({"q": "89", "a": "yes"})
    assert len(encoded.ids) == 8
    assert not encoded.truncated


def test_that_a_completion_that_is_too_long_alone_loses_its_end(plain_model: Path) -> None:
    made = encoder(plain_model, "prompt-completion", PROMPT, max_length=8)
    encoded = made.encode({"q": "q", "a": "0123456789"})
    assert shown(made, encoded) == ("<s> 012345", " 012345")
    assert encoded.truncated


def test_that_long_text_loses_its_end(plain_model: Path) -> None:
    made = encoder(plain_model, "text", {"text": "t"}, max_length=8)
    assert shown(made, made.encode({"t": "0123456789"})) == ("<s>0123456", "0123456")


TURNS = [
    {"role": "user", "content": "q1"},
    {"role": "assistant", "content": "a1"},
    {"role": "user", "content": "q2"},
    {"role": "assistant", "content": "a2"},
]


def test_that_conversations_use_the_models_template_and_train_every_answer(byte_model: Path) -> None:
    made = encoder(byte_model, "messages", {"messages": "m"})
    whole, trained = shown(made, made.encode({"m": TURNS}))
    assert whole == (
        "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n"
        "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\na2<|im_end|>\n"
    )
    assert trained == "a1<|im_end|>a2<|im_end|>"


def test_that_a_long_conversation_keeps_its_last_answer(byte_model: Path) -> None:
    made = encoder(byte_model, "messages", {"messages": "m"}, max_length=10)
    encoded = made.encode({"m": TURNS})
    whole, trained = shown(made, encoded)
    assert (whole, trained) == ("stant\na2<|im_end|>\n", "a2<|im_end|>")
    assert len(encoded.ids) == 10


def test_that_models_without_a_template_get_a_plain_layout(plain_model: Path) -> None:
    made = encoder(plain_model, "messages", {"messages": "m"})
    whole, trained = shown(made, made.encode({"m": TURNS}))
    assert whole == "<s>User:\nq1\n\nAssistant:\na1\n\nUser:\nq2\n\nAssistant:\na2<|im_end|>"
    assert trained == "a1a2<|im_end|>"


def test_that_instructions_use_the_template_where_there_is_one(byte_model: Path, plain_model: Path) -> None:
    mapping, row = {"instruction": "i", "output": "o"}, {"i": "Say hi", "o": "hi"}
    chatting = encoder(byte_model, "alpaca", mapping)
    assert shown(chatting, chatting.encode(row)) == (
        "<|im_start|>user\nSay hi<|im_end|>\n<|im_start|>assistant\nhi<|im_end|>\n",
        "hi<|im_end|>",
    )
    plain = encoder(plain_model, "alpaca", mapping)
    assert shown(plain, plain.encode(row)) == ("<s>Instruction:\nSay hi\n\nResponse:\nhi<|im_end|>", "hi<|im_end|>")


def test_that_a_completion_gets_the_ids_it_has_after_its_prompt(spaced_model: Path) -> None:
    """Tokenizers that put a space before every text must not put one into the middle of a row."""
    tokenizer = ModelTokenizer(spaced_model)
    made = encoder(spaced_model, "prompt-completion", {"prompt": "{q}:", "completion": "a"})
    encoded = made.encode({"q": "a", "a": "yes"})
    assert encoded.ids == [*tokenizer.encode("a: yes"), made.eos_id]
    glued = encoder(spaced_model, "prompt-completion", {"prompt": "{q}\n", "completion": "a"})
    assert glued.encode({"q": "a", "a": "b"}).ids[-2] == tokenizer.raw.token_to_id("b")


def test_that_the_same_row_gives_the_same_ids_each_time(byte_model: Path) -> None:
    row = {"q": "x" * 50, "a": "y"}
    rows = [encoder(byte_model, "prompt-completion", PROMPT, max_length=20).encode(row) for _ in range(3)]
    assert rows[0] == rows[1] == rows[2]


def classes(model: Path, mapping: dict[str, str], max_length: int = 64) -> Encoder:
    return encoder(model, "classification", mapping, max_length, task="classification", labels=("bad", "good"))


def words(made: Encoder, ids: Sequence[int]) -> list[str]:
    return made.decode(ids).split()


def test_that_classification_adds_the_encoders_special_tokens_and_no_padding(word_model: Path) -> None:
    made = classes(word_model, {"text": "t", "label": "l"})
    encoded = made.encode({"t": "very very good film plot", "l": "good"})
    assert words(made, encoded.ids) == ["[CLS]", "very", "very", "good", "film", "plot", "[SEP]"]
    assert (encoded.label, encoded.truncated, encoded.type_ids) == (1, False, None)
    assert not any(encoded.trained)
    assert made.eos_id is None
    assert made.pad_id == 0


def test_that_pairs_are_told_apart_and_cut_at_the_longer_text(word_model: Path) -> None:
    made = classes(word_model, {"text": "t", "text_pair": "p", "label": "l"}, max_length=8)
    encoded = made.encode({"t": "film plot film plot film plot", "p": "good", "l": "bad"})
    assert words(made, encoded.ids) == ["[CLS]", "film", "plot", "film", "plot", "[SEP]", "good", "[SEP]"]
    assert encoded.type_ids == [0, 0, 0, 0, 0, 0, 1, 1]
    assert encoded.truncated
    assert encoded.label == 0


def test_that_task_and_format_must_fit(byte_model: Path) -> None:
    with pytest.raises(InvalidSpecError):
        encoder(byte_model, "classification", {"text": "t", "label": "l"})
    with pytest.raises(InvalidSpecError):
        encoder(byte_model, "text", {"text": "t"}, task="classification")


def test_that_a_model_without_tokenizer_json_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer\.json") as caught:
        ModelTokenizer(tmp_path)
    assert "tokenizer.json into this folder" in caught.value.hint


@pytest.mark.parametrize(("content", "said"), [("{", "not valid JSON"), ("{}", "not usable")])
def test_that_a_damaged_tokenizer_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=said):
        ModelTokenizer(tmp_path)


def test_that_special_ids_come_from_the_model_config_where_the_tokenizer_names_none(byte_model: Path) -> None:
    (byte_model / "tokenizer_config.json").write_text("{}")
    (byte_model / "config.json").write_text(json.dumps({"eos_token_id": 7}))
    assert ModelTokenizer(byte_model).eos_id == 7
    (byte_model / "generation_config.json").write_text(json.dumps({"eos_token_id": [257, 9], "pad_token_id": 11}))
    tokenizer = ModelTokenizer(byte_model)
    assert (tokenizer.eos_id, tokenizer.pad_id) == (257, 11)
    (byte_model / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "<|im_start|>"}}))
    assert ModelTokenizer(byte_model).eos_id == 256
