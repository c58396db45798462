"""What a JSON schema says about one field: which editor it needs and in which words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from studio.core.spec import RunSpec

EditorKind = Literal["text", "whole", "number", "choice", "check", "list", "json"]


@dataclass(frozen=True)
class FieldShape:
    """One field of a schema, ready for a form."""

    name: str
    kind: EditorKind
    label: str
    help: str = ""
    unit: str = ""
    default: Any = None
    auto: bool = False
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    lo: float | None = None
    hi: float | None = None
    step: float | None = None
    when: str = ""
    advanced: bool = False
    hints: Mapping[str, Any] = field(default_factory=dict)


def read_fields(schema: Mapping[str, Any]) -> list[FieldShape]:
    """The fields of an object schema, in its order; nested objects are left to their own forms."""
    definitions = schema.get("$defs", {})
    shapes = []
    for name, body in schema.get("properties", {}).items():
        branches = _branches(body, definitions)
        if not any(branch.get("type") == "object" and "properties" in branch for branch in branches):
            shapes.append(_shape(name, body, branches))
    return shapes


@cache
def spec_schema() -> dict[str, Any]:
    """The JSON schema of a whole spec; made once, since it takes a while."""
    return RunSpec.model_json_schema()


def definition(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A named part of a schema, with the definitions it refers to."""
    return {**schema["$defs"][name], "$defs": schema["$defs"]}


def _shape(name: str, body: Mapping[str, Any], branches: list[Mapping[str, Any]]) -> FieldShape:
    hints = body.get("ui", {})
    auto = any(branch.get("const") == "auto" for branch in branches)
    nullable = any(branch.get("type") == "null" for branch in branches)
    rest = [branch for branch in branches if branch.get("const") != "auto" and branch.get("type") != "null"]
    numbers = [branch for branch in rest if branch.get("type") in ("integer", "number")]
    bounds = numbers[0] if numbers else {}
    kind, choices = _kind(rest, auto=auto)
    return FieldShape(
        name=name,
        kind=kind,
        label=hints.get("label") or humanise(name),
        help=body.get("description", ""),
        unit=hints.get("unit", ""),
        default=body.get("default"),
        auto=auto,
        nullable=nullable,
        choices=choices,
        lo=bounds.get("minimum", body.get("minimum")),
        hi=bounds.get("maximum", body.get("maximum")),
        step=hints.get("step") or (1 if kind == "whole" else None),
        when=hints.get("when", ""),
        advanced=bool(hints.get("advanced")),
        hints=hints,
    )


_PLAIN_KINDS: dict[frozenset[str], EditorKind] = {
    frozenset({"boolean"}): "check",
    frozenset({"integer"}): "whole",
    frozenset({"number"}): "number",
    frozenset({"integer", "number"}): "number",
    frozenset({"array"}): "list",
    frozenset({"string"}): "text",
}


def _kind(rest: list[Mapping[str, Any]], *, auto: bool) -> tuple[EditorKind, tuple[Any, ...]]:
    values = [value for branch in rest for value in branch.get("enum", [branch["const"]] if "const" in branch else [])]
    if values and len(values) >= len(rest):
        return "choice", tuple(values)
    kind = _PLAIN_KINDS.get(frozenset(str(branch.get("type")) for branch in rest), "json")
    return ("choice", (True, False)) if auto and kind == "check" else (kind, ())


def _branches(body: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in body:
        return _branches(definitions.get(body["$ref"].rsplit("/", 1)[-1], {}), definitions)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in body:
            return [inner for branch in body[key] for inner in _branches(branch, definitions)]
    return [body]


def humanise(name: str) -> str:
    """``learning_rate`` -> ``Learning rate``."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def is_shown(condition: str, values: Mapping[str, Any]) -> bool:
    """Whether a ``when`` hint (``field == value``) holds; an empty one always does."""
    if not condition:
        return True
    name, _, wanted = (part.strip() for part in condition.partition("=="))
    held = values.get(name)
    text = str(held).lower() if isinstance(held, bool) else str(held)
    return text == wanted.strip("'\"").lower() if isinstance(held, bool) else text == wanted.strip("'\"")
