"""Parameters of a plugin: a pydantic model whose fields describe their own form controls."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticUndefined


class Params(BaseModel):
    """Base of every plugin's parameters: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def ui(
    default: Any = PydanticUndefined,
    *,
    lo: float | None = None,
    hi: float | None = None,
    step: float | None = None,
    unit: str = "",
    label: str = "",
    help: str = "",
    when: str = "",
    advanced: bool = False,
) -> Any:
    """A field with its bounds and how a form shows it.

    Args:
        default: its value when the spec leaves it out; required if not given.
        lo, hi: inclusive bounds, checked.
        step: the increment of a spin box; other values stay allowed (a ``field_validator`` of pydantic is for rules
            that bounds cannot say).
        unit, label, help: words of the form; the help is a sentence.
        when: show only when another field has a value: ``"field == value"``.
        advanced: folded away at first.

    Choices are written as a ``Literal`` type. The rest lands in the JSON schema under ``"ui"``.
    """
    hints: dict[str, JsonValue] = {"step": step, "unit": unit, "label": label, "when": when, "advanced": advanced}
    shown: JsonValue = {key: value for key, value in hints.items() if value not in (None, "", False)}
    return Field(default=default, ge=lo, le=hi, description=help or None, json_schema_extra={"ui": shown})
