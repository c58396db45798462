"""Lint: every fault with the rows that have it and no other, and copies without them."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import Cancelled, UserError
from studio.datasets.library import DatasetLibrary
from studio.datasets.lint.duplicates import LIKE, Seen, signature
from studio.datasets.lint.finding import Finding
from studio.datasets.lint.rules import RULES, repair_encoding, without_markup, without_people
from studio.datasets.lint.words import Words

Write = Callable[..., Path]
RULE = {rule.kind: rule for rule in RULES}
WORDS = (
    "river", "stone", "seven", "window", "quiet", "orange", "table", "marble", "engine", "forest", "candle", "winter",
    "silver", "bridge", "garden",
)  # fmt: skip


def sentence(seed: int, count: int = 30) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, count))


def lint(library: DatasetLibrary, path: Path, **options: Any) -> dict[str, Finding]:
    found = library.lint(library.add(path, **options).name)
    assert len({finding.kind for finding in found}) == len(found)
    return {finding.kind: finding for finding in found}


def rows_of(found: dict[str, Finding]) -> dict[str, list[int]]:
    return {kind: finding.rows.tolist() for kind, finding in found.items()}


def questions(count: int = 30) -> list[dict[str, str]]:
    return [{"prompt": sentence(2 * i), "completion": sentence(2 * i + 1)} for i in range(count)]


def test_that_rows_without_a_fault_have_no_finding(library: DatasetLibrary, write: Write) -> None:
    assert lint(library, write("a.jsonl", questions())) == {}


def test_that_each_fault_names_its_rows(library: DatasetLibrary, write: Write) -> None:
    rows = questions()
    rows[2]["prompt"] = "cafÃ© au lait"
    rows[3]["completion"] = "bell \x07"
    rows[5]["completion"] = "one<br/>two"
    rows[6]["prompt"] = "Dear {{ name }}, hello"
    rows[8]["completion"] = "write to jane.doe@example.org"
    rows[9]["completion"] = "you should die"
    rows[11] = dict(rows[10], prompt=f"  {rows[10]['prompt']} ")
    rows[13] = {"prompt": rows[12]["prompt"].upper(), "completion": f"{rows[12]['completion']}!"}
    rows[15] = dict(rows[14], completion="no such thing at all")
    rows[16]["completion"] = ""
    found = lint(library, write("a.jsonl", rows))
    assert rows_of(found) == {
        "unusable": [16], "encoding": [2, 3], "markup": [5], "leftovers": [6], "personal": [8], "offensive": [9],
        "repeated": [11], "alike": [13], "contradicted": [14, 15],
    }  # fmt: skip
    assert [kind for kind, finding in found.items() if finding.severity == "error"] == ["unusable"]
    assert str(found["encoding"]).endswith("in 2 of 30 rows (row 3, 4)")
    assert all(finding.hint for finding in found.values())


def test_that_held_out_rows_that_are_trained_on_too_are_named(library: DatasetLibrary, write: Write) -> None:
    rows = [*questions(400), *questions(400)[:50]]
    found = lint(library, write("a.jsonl", rows))
    assert rows_of(found)["repeated"] == list(range(400, 450))
    leaked = rows_of(found)["leaked"]
    assert 10 < len(leaked) < 40  # of 50 pairs some 2 x 4/9 x 5/9 have one row on each side
    assert found["leaked"].mends == ""


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([{"text": "plain &amp; simple"}, {"text": "fine"}], {}),
        ([{"text": f"{sentence(i)} &lt;", "label": "ab"[i % 2]} for i in range(4)], {"format": "classification"}),
        ([{"messages": [{"role": "user", "content": "a &gt; b?"}, {"role": "assistant", "content": "yes"}]}] * 2, {}),
        ([{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "&quot;hi&quot;"}]}] * 2, {}),
        ([{"instruction": "do", "input": "&nbsp;", "output": "done"}, {"instruction": "go", "output": "gone"}], {}),
    ],
    ids=["text", "classification", "messages", "sharegpt", "alpaca"],
)
def test_that_every_format_is_looked_through(
    library: DatasetLibrary, write: Write, rows: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    found = lint(library, write("a.jsonl", rows), **options)
    assert 0 in rows_of(found)["markup"]
    made = library.mend("a", [found["markup"]])
    assert not RULE["markup"].found(Words((library.root / "a-v2" / "rows.jsonl").read_text(), ""))
    assert made.rows == len(rows)


def test_that_what_the_template_says_is_no_fault_of_the_rows(library: DatasetLibrary, write: Write) -> None:
    rows = [{"q": sentence(i), "a": sentence(i + 100, 3)} for i in range(20)]
    mapping = {"prompt": f"### Instruction:\n{sentence(1000, 300)} {{q}}", "completion": "{a}"}
    assert lint(library, write("a.jsonl", rows), format="prompt-completion", mapping=mapping) == {}


def test_that_a_mended_copy_has_its_steps_and_leaves_the_original(library: DatasetLibrary, write: Write) -> None:
    rows = questions()
    rows[4]["completion"] = ""
    rows[5]["completion"] = "call +49 30 1234567 or mail a@b.de"
    rows[6] = rows[0]
    before = library.add(write("a.jsonl", rows))
    found = library.lint("a")
    made = library.mend("a", found)
    assert (made.name, made.parent, made.rows, made.format) == ("a-v2", "a", 28, before.format)
    assert [(step.kind, step.rows, step.before) for step in made.steps] == [
        ("unusable", 1, before.fingerprint), ("personal", 1, before.fingerprint), ("repeated", 1, before.fingerprint),
    ]  # fmt: skip
    stored = list(library.open("a-v2"))
    assert stored[4]["completion"] == "call [phone number] or mail [email]"
    assert library.get("a") == before
    assert library.lint("a-v2") == []
    assert library.mend("a", found[:1]).name == "a-v3"
    again = library.mend("a-v2", [Finding("repeated", "", "", "", "warning", np.array([0]), 28, "leave out")])
    assert (again.name, len(again.steps)) == ("a-v4", 4)


def test_that_nothing_to_mend_is_an_error_and_leaves_nothing(library: DatasetLibrary, write: Write) -> None:
    library.add(write("a.jsonl", questions(3)))
    with pytest.raises(UserError, match="nothing to mend"):
        library.mend("a", [])
    every = Finding("repeated", "", "", "", "warning", np.arange(3), 3, "leave out")
    with pytest.raises(UserError, match="holds no rows"):
        library.mend("a", [every])
    assert [path.name for path in library.root.iterdir()] == ["a"]


def test_that_a_check_can_be_cancelled_and_tells_how_far_it_is(library: DatasetLibrary, write: Write) -> None:
    library.add(write("a.jsonl", questions(1200)))
    told: list[float | None] = []
    library.lint("a", progress=lambda _, done: told.append(done))
    assert told == sorted(told)  # type: ignore[type-var]
    assert told[-1] == 1.0
    with pytest.raises(Cancelled):
        library.lint("a", cancelled=lambda: True)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("encoding", "caf\u00e9, \u4e2d\u6587 and \u201cquotes\u201d"),
        ("markup", "if a < b and b > c; R&D; x <- y; <think>"),
        ("leftovers", 'print(f"{name}") and {"a": {"b": 1}} and \\frac{1}{2}'),
        ("personal", "on 2024-01-31 at 10:30, 1,234,567 people; version 1.2.3; 4111 1111 1111 1112; a @ b; pi 3.14159"),
        ("offensive", "Scunthorpe and cocktails; he was killed in action"),
    ],
)
def test_that_ordinary_text_is_no_fault(kind: str, text: str) -> None:
    assert not RULE[kind].found(Words(text, ""))


@pytest.mark.parametrize(
    "text", ["4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "192.168.0.1", "(030) 123-4567", "a.b+c@d-e.co.uk"]
)
def test_that_what_tells_who_somebody_is_is_found_and_named(text: str) -> None:
    assert RULE["personal"].found(Words("", f"It is {text}, he said."))
    mended = without_people(f"It is {text}, he said.")
    assert mended.startswith("It is [")
    assert mended.endswith("], he said.")
    assert not RULE["personal"].found(Words(mended, ""))


@pytest.mark.parametrize("text", ["café", "“naïve” – über", "Łódź", "plain"])
def test_that_misread_text_is_read_as_it_was_meant(text: str) -> None:
    misread = "".join(
        chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes((byte,)).decode("cp1252")
        for byte in text.encode()
    )
    assert repair_encoding(misread) == text
    assert repair_encoding(f"{misread} 中文") == f"{text} 中文"  # where only a part was misread


def test_that_markup_becomes_the_text_that_it_stands_for() -> None:
    assert without_markup("<p>One &amp; two<br />three&nbsp;four</p>") == "One & two\nthree four\n"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), changes=st.integers(0, 4), count=st.integers(60, 150))
def test_that_near_repeats_are_what_shares_enough_runs(seed: int, changes: int, count: int) -> None:
    first = sentence(seed, count).split()
    second = list(first)
    for place in np.random.default_rng(seed).choice(count, changes, replace=False):
        second[place] = "changed"
    texts = [" ".join(first), sentence(seed + 1, count), " ".join(second)]
    with tempfile.TemporaryFile() as file:
        seen = Seen(file)
        for row, text in enumerate(texts):
            seen.add(row, Words(text, ""))
        found = seen.nearly_repeated(texts.__getitem__, np.empty(0, np.int64), lambda _: None)
    alike = jaccard(texts[0], texts[2])
    if alike > LIKE + 0.07:
        assert (found.rows.tolist(), found.earlier.tolist()) == ([2], [0])
    if alike < LIKE:
        assert found.rows.tolist() == []


def jaccard(one: str, other: str) -> float:
    left, right = ({text[i : i + 8] for i in range(len(text) - 7)} for text in (one, other))
    return len(left & right) / len(left | right)


def test_that_a_text_of_any_length_has_a_signature() -> None:
    assert {signature(text).shape for text in ("", "a", "ä" * 9, "long " * 9999)} == {(8,)}
