"""The help page of spec files is true: its examples are read, its tables are the fields with their defaults."""

import json
import re
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from studio.core.paths import resource
from studio.core.spec import (
    DataRef,
    Limits,
    MethodSpec,
    ModelRef,
    Placement,
    RunSpec,
    SpecPart,
    Split,
    TrainSpec,
    parse_spec,
)
from studio.extensions.methods import open_method
from studio.extensions.registry import discover
from studio.models.where import check_words
from studio.service.spec_file import parse_text

PAGE = resource("help/spec_files.md").read_text(encoding="utf-8")
PARTS = {
    "The run": RunSpec, "`model`": ModelRef, "`data`": DataRef, "`data.split`": Split, "`method`": MethodSpec,
    "`method.placements`": Placement, "`train`": TrainSpec, "`limits`": Limits,
}  # fmt: skip


@pytest.mark.parametrize(("number", "task"), [(0, "sft"), (1, "classification")])
def test_that_an_example_has_no_problem(number: int, task: str) -> None:
    parsed = parse_spec(parse_text(re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[number], "page"))
    assert parsed.problems == ()
    assert parsed.spec is not None
    assert parsed.spec.task == task
    for placement in parsed.spec.method.placements:
        method = open_method(discover().get(placement.use, "method"))
        assert method.parse(placement.params, "params")[1] == []
        check_words(placement.where or method.traits.where)


@pytest.mark.parametrize("heading", PARTS)
def test_that_the_tables_have_every_key_with_its_default(heading: str) -> None:
    section = PAGE.split(f"### {heading}\n")[1].split("\n##")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+)`? \|", section, flags=re.MULTILINE))
    assert shown == {name: default_of(field) for name, field in PARTS[heading].model_fields.items()}


def default_of(field: Any) -> str:
    """The default of a field as the page writes it."""
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, SpecPart) or default == {}:
        return "all defaults"
    return default if isinstance(default, str) else json.dumps(default)
