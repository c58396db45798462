"""Parts of the form without a window: draft paths, role expressions, schema reading, words."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from studio.core.forecast import Advice, EnergyForecast, Room, TimeForecast
from studio.core.spec import RunSpec
from studio.gui.screens.new_run import words
from studio.gui.screens.new_run.draft import MISSING, Draft, empty_spec, read_path, suggest_name, write_path
from studio.gui.screens.new_run.where import RoleChoice, read_roles
from studio.gui.widgets.editors import NumberEditor
from studio.gui.widgets.schema import definition, is_shown, read_fields


def test_that_paths_reach_into_lists_and_make_what_is_missing() -> None:
    raw: dict[str, Any] = {"method": {"placements": [{"use": "lora"}]}}
    write_path(raw, "method.placements.0.params.rank", 4)
    assert read_path(raw, "method.placements.0.params.rank") == 4
    assert read_path(raw, "method.placements.1.use") is MISSING
    write_path(raw, "method.placements.0.params.rank", MISSING)
    assert raw == {"method": {"placements": [{"use": "lora", "params": {}}]}}


def test_that_undo_of_a_new_key_takes_the_key_away() -> None:
    draft = Draft({"train": {}})
    draft.set("train.epochs", 2)
    draft.history.undo()
    assert draft.raw == {"train": {}}


def test_that_a_new_form_needs_only_model_and_data() -> None:
    raw = empty_spec() | {"model": {"source": "library:m"}, "data": {"source": "library:d"}}
    assert RunSpec.model_validate(raw).method.placements[0].use == "lora"


@pytest.mark.parametrize(
    ("source", "name"),
    [("library:boolq", "boolq-lora"), ("path:/data/my rows.jsonl", "my rows-lora"), ("path:C:\\d\\x.csv", "x-lora"),
     ("", "lora")],
)  # fmt: skip
def test_that_a_name_is_made_of_data_and_method(source: str, name: str) -> None:
    assert suggest_name(Draft(empty_spec() | {"data": {"source": source}})) == name


@pytest.mark.parametrize(
    ("expression", "roles", "rest"),
    [
        ("role in (q, v)", ("q", "v"), ""),
        ("role == q", ("q",), ""),
        ("role in (q,v) and layer >= 8", ("q", "v"), "and layer >= 8"),
    ],
)
def test_that_role_expressions_are_read(expression: str, roles: tuple[str, ...], rest: str) -> None:
    choice = read_roles(expression)
    assert choice == RoleChoice(roles, rest)


@pytest.mark.parametrize(
    "expression", ["kind == linear", "layer > 3 and role == q", "not role in (q)", "role in (q) or x"]
)
def test_that_other_expressions_are_left_alone(expression: str) -> None:
    assert read_roles(expression) is None


def test_that_toggling_keeps_the_rest_and_the_order() -> None:
    choice = RoleChoice(("v",), "and layer >= 8").toggled("q", ("q", "k", "v"))
    assert choice.expression() == "role in (q, v) and layer >= 8"
    assert choice.toggled("v", ("q", "k", "v")).expression() == "role == q and layer >= 8"


def test_that_every_field_of_the_spec_gets_a_fitting_editor() -> None:
    shapes = {shape.name: shape for shape in read_fields(definition(RunSpec.model_json_schema(), "TrainSpec"))}
    assert shapes["micro_batch"].kind == "whole"
    assert shapes["micro_batch"].auto
    assert shapes["learning_rate"].kind == "number"
    assert shapes["max_steps"].nullable
    assert shapes["schedule"].choices == ("constant", "linear", "cosine")
    assert shapes["checkpointing"].kind == "choice"
    assert shapes["checkpointing"].choices == (True, False)
    assert shapes["precision"].choices == ("auto", "bf16", "fp16", "fp32")
    assert {shape.kind for shape in shapes.values()} <= {"whole", "number", "choice", "text"}


def test_that_nested_objects_are_left_to_their_own_form() -> None:
    class Inner(BaseModel):
        x: int = 0

    class Outer(BaseModel):
        inner: Inner = Inner()
        kind: Literal["a", "b"] = "a"
        sizes: list[int] = []

    shapes = {shape.name: shape.kind for shape in read_fields(Outer.model_json_schema())}
    assert shapes == {"kind": "choice", "sizes": "list"}


def test_that_conditions_show_and_hide() -> None:
    assert is_shown("", {})
    assert is_shown("mode == fast", {"mode": "fast"})
    assert not is_shown("mode == fast", {"mode": "slow"})
    assert is_shown("use == true", {"use": True})


@pytest.mark.usefixtures("window_app")
def test_that_numbers_are_read_as_people_write_them() -> None:
    editor = NumberEditor(whole=False, empty="auto")
    for text, value in (("2e-4", 2e-4), ("16", 16), ("", "auto"), ("auto", "auto"), ("fast", "fast"), ("1.5", 1.5)):
        editor.setText(text)
        assert editor.value() == value
    editor.set_value(1e-5)
    assert editor.text() == "1e-05"


def test_that_bands_name_their_unit_once() -> None:
    assert words.time_words(TimeForecast(seconds=424, low=360, high=610, seconds_per_step=1))[1] == "6 – 10 min"
    assert words.time_words(TimeForecast(seconds=4, low=3.2, high=5, seconds_per_step=1)) == ("4 s", "3.2 – 5 s")
    assert words.time_words(TimeForecast(seconds=9000, low=7200, high=13_000, seconds_per_step=1))[1] == "2 – 3.6 h"


def test_that_what_nobody_knows_is_called_unknown() -> None:
    nothing = EnergyForecast()
    assert words.energy_words(nothing) == ("unknown", "no power meter here")
    assert words.cost_words(nothing, "EUR")[0] == "unknown"
    assert words.co2_words(nothing)[0] == "unknown"


@pytest.mark.parametrize(
    ("slower", "said"),
    [(None, "saves 1.00 KiB"), (1.3, "saves 1.00 KiB · 30% slower"), (0.9, "saves 1.00 KiB · 10% faster"),
     (1.001, "saves 1.00 KiB · as fast"), (2.5, "saves 1.00 KiB · 2.5 times as long")],
)  # fmt: skip
def test_that_advice_tells_what_it_saves_and_costs(slower: float | None, said: str) -> None:
    assert words.advice_words(Advice(change="", saves_bytes=1024, patch={}, slower=slower)) == said
    unknown = Advice(change="", saves_bytes=1024, patch={}, slower=slower, fits=False)
    assert words.advice_words(unknown) == f"{said} · {words.NOT_ENOUGH}"


@pytest.mark.parametrize(
    ("room", "said"),
    [(Room(micro_batch=14, max_length=2048), "Fits up to 14 rows at once · rows up to 2,048 tokens"),
     (Room(micro_batch=1, max_length=300), "Fits up to 1 row at once · rows up to 300 tokens"),
     (Room(micro_batch=2, max_length=0), "Fits up to 2 rows at once · shorter rows alone do not help"),
     (Room(micro_batch=0, max_length=128), "Not even one row is sure to fit"),
     (None, "How many rows would fit is not known")],
)  # fmt: skip
def test_that_room_is_told_in_rows_and_tokens(room: Room | None, said: str) -> None:
    assert words.room_words(room) == said
