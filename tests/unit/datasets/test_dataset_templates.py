"""Brace templates and the text of values."""

from typing import Any

import pytest

from studio.core.errors import UserError
from studio.datasets.templates import as_text, parse_template, template_for


def test_that_columns_are_filled_in_and_doubled_braces_stay() -> None:
    template = parse_template("{{a}} {a b}: {c.d}!")
    assert template.columns == ("a b", "c.d")
    assert template.render({"a b": 1, "c.d": "x"}) == "{a} 1: x!"


def test_that_values_are_inserted_as_they_are() -> None:
    assert parse_template("{a}").render({"a": "{b} {{ %s"}) == "{b} {{ %s"


@pytest.mark.parametrize("text", ["{", "}", "{}", "{ }", "a {b", "a} b", "{a{b}}"])
def test_that_stray_braces_are_refused_with_their_place(text: str) -> None:
    with pytest.raises(UserError, match="stray brace at position"):
        parse_template(text)


@pytest.mark.parametrize("text", ["{a.__class__}", "{a[0]}", "{a!r}", "{a:>10}", "{0}"])
def test_that_nothing_but_a_column_name_counts(text: str) -> None:
    with pytest.raises(UserError, match="unknown column"):
        template_for(text, ["a"])


def test_that_a_mapping_value_that_is_a_column_means_that_column() -> None:
    assert template_for("a {b}", ["a {b}"]).render({"a {b}": "x"}) == "x"


def test_that_a_misspelt_column_gets_a_suggestion() -> None:
    with pytest.raises(UserError) as caught:
        template_for("{pasage}", ["passage", "question"])
    assert caught.value.hint == "did you mean 'passage'?"
    with pytest.raises(UserError) as caught:
        template_for("pasage", ["passage", "question"])
    assert caught.value.hint == "did you mean 'passage'?"


@pytest.mark.parametrize(
    ("value", "text"), [("ä", "ä"), (None, ""), (True, "true"), (3, "3"), (0.5, "0.5"), (["ä", 1], '["ä", 1]')]
)
def test_that_values_have_one_text(value: Any, text: str) -> None:
    assert as_text(value) == text
