"""Spec files are YAML 1.2 or JSON; what is wrong with them is said with its place."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import MachineError, UserError
from studio.core.spec import RunSpec, parse_spec
from studio.service.spec_file import parse_text, read_spec, spec_text, write_spec

SPEC = """version: 1
name: boolq-lora
model: {source: "library:smollm2"}
data:
  source: "library:boolq"
  columns: {prompt: "{passage}\\nQuestion: {question}?\\nAnswer:", completion: "{label}"}
method:
  placements:
    - {use: lora, where: "role in (q, v)", params: {rank: 8}}
train: {learning_rate: 2e-4, micro_batch: auto, checkpointing: on}
"""


def test_that_yaml_1_2_is_read_as_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    raw = read_spec(path)
    assert raw["train"] == {"learning_rate": 2e-4, "micro_batch": "auto", "checkpointing": "on"}
    assert raw["data"]["columns"]["prompt"].splitlines()[1] == "Question: {question}?"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E5", 1e5), ("0o17", 15), ("yes", "yes"), ("no", "no"), ("null", None), ("~", None),
     ("true", True), ("12:30", "12:30"), ("2026-11-24", "2026-11-24"), ('"1e-4"', "1e-4"), (".inf", float("inf"))],
)  # fmt: skip
def test_that_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert parse_text(f"x: {text}\n", "spec") == {"x": value}


def test_that_json_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text('\ufeff{"name": "x", "train": {"learning_rate": 1e-4}}', encoding="utf-8")
    assert read_spec(path) == {"name": "x", "train": {"learning_rate": 1e-4}}


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a: 1\na: 2\n", ":2:1", "duplicate key"),
        ("train: {a: 1, a: 2}\n", ":1:15", "duplicate key"),
        ("a: [1,\nb: 2\n", ":3:1", "expected"),
        ("a:\n\tb: 1\n", ":2:1", "'\\t'"),
        ("a: !!python/object:os.system x\n", ":1:4", "could not determine a constructor"),
        ("a: 'open\n", ":", "quoted scalar"),
        ("a: {b: &x 1, c: *x}\n", "", "alias"),
        ("- 1\n", "", "not a mapping"),
        ("", "", "is empty"),
        ("just words\n", "", "not a mapping"),
        ("? [1, 2]\n: x\n", "", "key"),
        ("a: \x07\n", "", "YAML"),
        ("a: 1\n---\nb: 2\n", ":", ""),
    ],
)
def test_that_each_mistake_is_told_with_its_place(tmp_path: Path, text: str, place: str, reason: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert caught.value.where.startswith(f"{path}{place}")
    assert reason in caught.value.message
    assert caught.value.hint
    assert "http" not in str(caught.value)


def test_that_a_file_that_cannot_be_a_spec_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_spec(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match="is a folder"):
        read_spec(tmp_path)
    (tmp_path / "image").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_spec(tmp_path / "image")
    (tmp_path / "big").write_text("a: 1\n" * 100_000)
    with pytest.raises(UserError, match="too large"):
        read_spec(tmp_path / "big")


@pytest.mark.parametrize("name", ["spec.yaml", "spec.json"])
def test_that_a_spec_written_is_the_spec_read(tmp_path: Path, name: str) -> None:
    spec = parse_spec(parse_text(SPEC.replace("on}", "true}"), "spec")).spec
    assert isinstance(spec, RunSpec)
    write_spec(spec, tmp_path / name)
    assert parse_spec(read_spec(tmp_path / name)).spec == spec
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith("json"):
        json.loads((tmp_path / name).read_text())


def test_that_a_spec_is_written_in_the_order_people_know() -> None:
    text = spec_text({"version": 1, "name": "x", "model": {"source": "library:m"}, "data": {}})
    assert [line.partition(":")[0] for line in text.splitlines() if line[0] != " "] == [
        "version", "name", "model", "data",
    ]  # fmt: skip


def test_that_a_place_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be written"):
        write_spec({"name": "x"}, tmp_path / "missing" / "spec.yaml")


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@settings(max_examples=60, deadline=None)
@given(body=st.dictionaries(st.text(), values))
def test_that_any_plain_data_survives_yaml(body: dict[str, Any]) -> None:
    assert parse_text(spec_text(body), "spec") == body


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_that_any_text_is_read_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(UserError):
        assert isinstance(parse_text(text, "spec"), dict)
