"""Recognising formats and columns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import UserError
from studio.datasets.detect import Detection, detect, detect_mapping
from studio.datasets.interpret import suggest_mapping
from studio.datasets.library import DatasetLibrary
from studio.datasets.profile import Profile


def profile(rows: list[dict[str, Any]]) -> Profile:
    made = Profile()
    for row in rows:
        made.add(row)
    return made


def found(*rows: dict[str, Any]) -> Detection:
    return detect(profile(list(rows)))


def many(count: int, **columns: Any) -> list[dict[str, Any]]:
    return [{name: make(i) for name, make in columns.items()} for i in range(count)]


def words(i: int) -> str:
    return f"a sentence with the number {i} in it"


@pytest.mark.parametrize(
    ("row", "format_", "mapping"),
    [
        (
            {"instruction": "i", "input": "", "output": "o"},
            "alpaca",
            {"instruction": "instruction", "output": "output", "input": "input"},
        ),
        (
            {"instruction": "i", "context": "", "response": "o", "category": "qa"},
            "alpaca",
            {"instruction": "instruction", "output": "response", "input": "context"},
        ),
        ({"instruction": "i", "output": "o"}, "alpaca", {"instruction": "instruction", "output": "output"}),
        ({"conversations": [{"from": "human", "value": "x"}]}, "sharegpt", {"conversations": "conversations"}),
        ({"conversations": [{"role": "user", "content": "x"}]}, "messages", {"messages": "conversations"}),
        ({"id": 1, "messages": [{"role": "user", "content": "x", "name": "n"}]}, "messages", {"messages": "messages"}),
        ({"prompt": "p", "completion": "c"}, "prompt-completion", {"prompt": "prompt", "completion": "completion"}),
        ({"Question": "q", "Answer": "a"}, "prompt-completion", {"prompt": "Question", "completion": "Answer"}),
        (
            {"question": "is it", "passage": "p", "label": True},
            "prompt-completion",
            {"prompt": "{passage}\nQuestion: {question}?\nAnswer:", "completion": "{label}"},
        ),
        (
            {"question": "Is it?", "context": "p", "answer": "yes"},
            "prompt-completion",
            {"prompt": "{context}\nQuestion: {question}\nAnswer:", "completion": "{answer}"},
        ),
        ({"text": "t"}, "text", {"text": "text"}),
        ({"id": 3, "story": "once upon a time"}, "text", {"text": "story"}),
    ],
)
def test_that_known_columns_give_their_format(row: dict[str, Any], format_: str, mapping: dict[str, str]) -> None:
    detection = found(row)
    assert (detection.format, detection.mapping) == (format_, mapping)
    assert 0 < detection.confidence <= 1
    assert detection.reason.endswith(".")


def test_that_a_text_with_few_labels_is_classification() -> None:
    detection = detect(profile(many(40, text=words, label=lambda i: i % 3)))
    assert (detection.format, detection.mapping) == ("classification", {"text": "text", "label": "label"})
    assert "3 different values" in detection.reason


def test_that_sentence_pairs_are_found() -> None:
    rows = many(40, premise=words, hypothesis=words, label=lambda i: ["yes", "no"][i % 2])
    assert detect(profile(rows)).mapping == {"text": "premise", "text_pair": "hypothesis", "label": "label"}


def test_that_an_unnamed_label_column_is_found_with_less_confidence() -> None:
    named = detect(profile(many(40, body=words, label=lambda i: i % 2)))
    unnamed = detect(profile(many(40, body=words, kind=lambda i: i % 2)))
    assert unnamed.mapping == {"text": "body", "label": "kind"}
    assert unnamed.confidence < named.confidence


def test_that_scores_and_unique_ids_are_no_labels() -> None:
    assert detect(profile(many(60, text=words, id=str, score=lambda i: i / 7))).format == "text"


def test_that_data_without_text_is_refused() -> None:
    with pytest.raises(UserError, match="no column holds text"):
        found({"a": 1.5, "b": 2.5})


def test_that_columns_are_found_for_a_format_the_user_chose() -> None:
    rows = profile(many(40, question=words, passage=words, label=lambda i: i % 2))
    assert detect(rows).format == "prompt-completion"
    mapping = {"text": "question", "label": "label", "text_pair": "passage"}
    assert detect_mapping("classification", rows) == mapping
    assert detect_mapping("text", rows) is not None
    assert detect_mapping("alpaca", rows) is None
    assert detect_mapping("messages", rows) is None


def test_that_column_names_with_braces_are_not_put_into_a_template() -> None:
    rows = profile([{"passage": "p", "question": "q", "answer": "a"}])
    assert detect_mapping("prompt-completion", rows) == {
        "prompt": "{passage}\nQuestion: {question}?\nAnswer:",
        "completion": "{answer}",
    }
    assert found({"{passage}": "p", "question": "q", "answer": "a"}).mapping == {
        "prompt": "question",
        "completion": "answer",
    }


def test_that_a_stored_dataset_suggests_columns_for_another_format(
    library: DatasetLibrary, write: Callable[..., Path]
) -> None:
    rows = many(40, question=words, subject=lambda i: ["anatomy", "dentistry"][i % 2])
    mapping = {"prompt": "Question: {question}\nSubject:", "completion": "subject"}
    stored = library.open(library.add(write("a.jsonl", rows), mapping=mapping).name)
    assert suggest_mapping(stored, "prompt-completion") == mapping
    assert suggest_mapping(stored, "classification") == {"text": "question", "label": "subject"}
    assert suggest_mapping(stored, "messages") is None
    assert suggest_mapping(stored, "unheard-of") is None
