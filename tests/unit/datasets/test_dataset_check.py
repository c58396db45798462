"""What is said about formats, mappings and rows that do not fit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.core.errors import UserError
from studio.core.facts import DataFacts
from studio.datasets.check import check_mapping, check_task
from studio.datasets.formats import FORMATS, infer_format
from studio.datasets.labels import find_labels
from studio.datasets.library import DatasetLibrary
from studio.datasets.lint.check import check_rows

FACTS = DataFacts(name="d", path="", rows=9, columns=("question", "passage", "label"), format="text", mapping={})


def test_that_a_good_mapping_has_no_problems() -> None:
    mapping = {"prompt": "{passage} {question}", "completion": "label"}
    assert check_mapping(FACTS, "prompt-completion", mapping, ()) == []
    pair = {"text": "question", "text_pair": "passage", "label": "label"}
    assert check_mapping(FACTS, "classification", pair, ("no", "yes")) == []


def test_that_all_problems_are_reported_with_their_paths() -> None:
    problems = check_mapping(FACTS, "prompt-completion", {"promt": "x", "completion": "{lable}"}, ())
    assert {problem.where: problem.hint for problem in problems} == {
        "data.columns.prompt": "name a column or write a template; columns: question, passage, label",
        "data.columns.promt": "did you mean 'prompt'?",
        "data.columns.completion": "did you mean 'label'?",
    }


def test_that_an_unknown_format_gets_a_suggestion() -> None:
    (problem,) = check_mapping(FACTS, "alpacca", {}, ())
    assert (problem.where, problem.hint) == ("data.format", "did you mean 'alpaca'?")


def test_that_a_label_must_be_a_column_and_have_two_classes() -> None:
    (problem,) = check_mapping(FACTS, "classification", {"text": "question", "label": "{label}"}, ("a", "b"))
    assert problem.where == "data.columns.label"
    for labels in ((), ("only",)):
        (problem,) = check_mapping(FACTS, "classification", {"text": "question", "label": "label"}, labels)
        assert "at least two classes" in problem.message


def test_that_a_broken_template_is_a_problem() -> None:
    (problem,) = check_mapping(FACTS, "text", {"text": "{question"}, ())
    assert "stray brace" in problem.message


@pytest.mark.parametrize(("task", "format_", "fits"), [("sft", "text", True), ("sft", "classification", False),
                                                       ("classification", "classification", True),
                                                       ("classification", "alpaca", False)])  # fmt: skip
def test_that_tasks_take_the_formats_they_can_learn_from(task: str, format_: str, fits: bool) -> None:
    problems = check_task(task, format_)
    assert (problems == []) == fits
    assert all(problem.hint for problem in problems)


@pytest.mark.parametrize("name", list(FORMATS))
def test_that_a_format_is_inferred_from_its_roles(name: str) -> None:
    assert infer_format(dict.fromkeys(FORMATS[name].required, "x")) == name


def test_that_labels_are_sorted_as_numbers_or_as_text() -> None:
    assert find_labels([{"l": value} for value in (10, 9, "2", None)], "l") == ("2", "9", "10")
    assert find_labels([{"l": value} for value in (True, False, "10")], "l") == ("10", "false", "true")
    with pytest.raises(UserError, match="more than 1000 different values"):
        find_labels([{"l": index} for index in range(1001)], "l")


def test_that_unusable_rows_are_counted_and_named(library: DatasetLibrary, write: Callable[..., Path]) -> None:
    rows = [{"prompt": "p", "completion": None if i in (1, 4, 6, 7) else "c"} for i in range(10)]
    stored = library.open(library.add(write("a.jsonl", [*rows, {"prompt": "", "completion": "c"}])).name)
    found = check_rows(stored, stored.facts.format, stored.facts.mapping, ())
    assert [(finding.where, str(finding)) for finding in found if finding.severity == "error"] == [
        ("data.columns.completion", "column 'completion' has no value in 4 of 11 rows (row 2, 5, 7, …)"),
        ("data.columns.prompt", "the prompt is empty in 1 of 11 rows (row 11)"),
    ]
