"""Rows as text, and which part of it is trained."""

from typing import Any

import pytest

from studio.core.errors import UserError
from studio.datasets.example import Example, Segment
from studio.datasets.render import render_row


def rendered(row: dict[str, Any], format_: str, mapping: dict[str, str], labels: tuple[str, ...] = ()) -> Example:
    return render_row(row, format_, mapping, labels)


PROMPT = {"prompt": "Q: {q}\nA:", "completion": "a"}


@pytest.mark.parametrize(
    ("prompt", "completion", "joined"),
    [("{q}", "a", "q| a"), ("{q} ", "a", "q |a"), ("{q}\n", "a", "q\n|a"), ("{q}", "{a}", "q| a")],
)
def test_that_prompt_and_completion_are_joined_by_one_space(prompt: str, completion: str, joined: str) -> None:
    example = rendered({"q": "q", "a": "a"}, "prompt-completion", {"prompt": prompt, "completion": completion})
    assert "|".join(segment.text for segment in example.segments) == joined
    assert [segment.trained for segment in example.segments] == [False, True]


def test_that_a_completion_with_its_own_space_gets_no_second_one() -> None:
    assert rendered({"q": "q", "a": "\na"}, "prompt-completion", PROMPT).segments[1].text == "\na"


@pytest.mark.parametrize(("value", "text"), [(True, " true"), (False, " false"), (7, " 7")])
def test_that_booleans_and_numbers_are_completions(value: object, text: str) -> None:
    assert rendered({"q": "q", "a": value}, "prompt-completion", PROMPT).segments[1].text == text


@pytest.mark.parametrize("row", [{"q": "q"}, {"q": "q", "a": None}, {"q": None, "a": "a"}])
def test_that_a_row_without_a_value_is_refused_at_its_role(row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="has no value") as caught:
        rendered(row, "prompt-completion", PROMPT)
    assert caught.value.where == ("data.columns.prompt" if row.get("q") is None else "data.columns.completion")


def test_that_a_blank_completion_is_refused() -> None:
    with pytest.raises(UserError, match="the completion is empty"):
        rendered({"q": "q", "a": " \n"}, "prompt-completion", PROMPT)


def test_that_text_is_trained_whole() -> None:
    assert rendered({"t": "x y"}, "text", {"text": "t"}).segments == (Segment("x y", True),)


def test_that_instructions_have_a_plain_layout_and_turns_for_a_chat_template() -> None:
    mapping = {"instruction": "i", "input": "x", "output": "o"}
    example = rendered({"i": "Add.", "x": "1 2", "o": "3"}, "alpaca", mapping)
    assert example.segments == (Segment("Instruction:\nAdd.\n\nInput:\n1 2\n\nResponse:\n", False), Segment("3", True))
    assert example.messages == ({"role": "user", "content": "Add.\n\n1 2"}, {"role": "assistant", "content": "3"})
    without = rendered({"i": "Add.", "x": "", "o": "3"}, "alpaca", mapping)
    assert without.segments[0].text == "Instruction:\nAdd.\n\nResponse:\n"
    assert without.messages[0]["content"] == "Add."


def test_that_conversations_end_with_the_last_answer() -> None:
    turns = [
        {"from": "system", "value": "s"},
        {"from": "human", "value": "q"},
        {"from": "gpt", "value": "a"},
        {"from": "human", "value": "left over"},
    ]
    example = rendered({"c": turns}, "sharegpt", {"conversations": "c"})
    assert [message["role"] for message in example.messages] == ["system", "user", "assistant"]
    assert "".join(s.text for s in example.segments) == "System:\ns\n\nUser:\nq\n\nAssistant:\na"
    assert [s.text for s in example.segments if s.trained] == ["a"]


def test_that_a_message_keeps_what_else_it_holds_and_joins_its_parts() -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]},
    ]
    messages = rendered({"m": turns}, "messages", {"messages": "m"}).messages
    assert messages[0] == {"role": "user", "content": "a\nb"}
    assert messages[1] == {"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        (None, "missing or empty"),
        ([], "missing or empty"),
        ("text", "missing or empty"),
        (["text"], "turn 1 is no object"),
        ([{"role": "usr", "content": "x"}], "unknown speaker 'usr'"),
        ([{"role": "user", "content": 3}], "no text"),
        ([{"role": "user", "content": [{"type": "image"}]}], "no text"),
        ([{"role": "user", "content": "x"}], "no turn of the assistant"),
    ],
)
def test_that_a_broken_conversation_is_refused(turns: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        rendered({"m": turns}, "messages", {"messages": "m"})


def test_that_classes_are_numbered_in_the_order_of_the_labels() -> None:
    mapping = {"text": "t", "label": "l", "text_pair": "p"}
    example = rendered({"t": "x", "p": "y", "l": 1}, "classification", mapping, ("0", "1"))
    assert example == Example((Segment("x", False), Segment("y", False)), label=1)
    with pytest.raises(UserError, match="the label '2' is not one of the classes"):
        rendered({"t": "x", "p": "y", "l": 2}, "classification", mapping, ("0", "1"))
