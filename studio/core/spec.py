"""RunSpec: what the user asked for, exactly as written in a spec file or a form."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from studio.core.problems import Problem, did_you_mean, plain_reason, short

SPEC_VERSION = 1
LARGEST_SEED = 2**63 - 1
Auto = Literal["auto"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
Schedule = Literal["constant", "linear", "cosine"]
OnOom = Literal["halve", "stop"]
Quantization = Literal["none", "int8", "nf4"]
BITS: dict[Quantization, int] = {"int8": 8, "nf4": 4}
DataFormat = Literal["auto", "alpaca", "sharegpt", "messages", "prompt-completion", "text", "classification"]
Task = Literal["sft", "classification"]
Gate = Annotated[float, Field(allow_inf_nan=False)] | Literal["learned", "input"] | None


class SpecPart(BaseModel):
    """Base of every part of a spec: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


PartT = TypeVar("PartT", bound=SpecPart)


class ModelRef(SpecPart):
    """The base model: ``library:NAME``, ``path:DIR_OR_GGUF`` or ``hub:ORG/NAME@REVISION``."""

    source: str

    @field_validator("source")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        return checked_source(value)


class Split(SpecPart):
    """How many rows are held out for evaluation, and the seed that picks them."""

    eval: int = Field(default=200, ge=0, description="Rows held out for evaluation")
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, description="Seed that picks the held-out rows")


class DataRef(SpecPart):
    """The dataset and how its columns become training examples."""

    source: str
    format: DataFormat = "auto"
    columns: dict[str, str] | None = Field(
        default=None, description="Role to column name or template, e.g. prompt: 'Q: {question}'"
    )
    split: Split = Split()
    max_length: Auto | int = Field(default="auto", description="Longest row, in tokens")
    max_rows: int | None = Field(default=None, ge=1, description="Use only the first rows, after the shuffle")

    @field_validator("source")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        return checked_source(value)

    @field_validator("max_length")
    @classmethod
    def _sensible_length(cls, value: Auto | int) -> Auto | int:
        if value != "auto" and not 8 <= value <= 1_048_576:
            raise ValueError("must be from 8 to 1,048,576, or auto")
        return value


class Placement(SpecPart):
    """One PET method at the sites a ``where`` expression selects."""

    use: str
    where: str | None = Field(default=None, description="Expression over role, layer, kind and path")
    params: dict[str, Any] = Field(default_factory=dict)
    gate: Gate = Field(default=None, description="Factor on what the method changes: a number, learned or input")


class MethodSpec(SpecPart):
    """The placements that together are the PET method of the run."""

    placements: tuple[Placement, ...] = Field(min_length=1)
    budget: int | None = Field(default=None, ge=1, description="Trainable parameters to stay within")
    exact: bool = Field(default=False, description="Train exactly the budget: the rest goes to single base weights")
    start: str | None = Field(default=None, description="Adapter to go on from: path:FOLDER, the studio's or peft's")

    @field_validator("start")
    @classmethod
    def _names_a_folder(cls, value: str | None) -> str | None:
        if value is not None and (not value.startswith("path:") or not value.removeprefix("path:").strip()):
            raise ValueError("must be path:FOLDER")
        return value


class TrainSpec(SpecPart):
    """How the run trains; every ``auto`` is resolved in the plan, with its reason."""

    epochs: float = Field(default=1, gt=0, le=10_000)
    max_steps: int | None = Field(default=None, ge=1)
    effective_batch: int = Field(default=16, ge=1, le=65_536)
    micro_batch: Auto | int = "auto"
    learning_rate: Auto | float = "auto"
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Schedule = "cosine"
    warmup: float = Field(default=0.03, ge=0, description="Share of steps if below 1, else steps")
    clip_norm: float | None = Field(default=1.0, gt=0)
    precision: Precision = "auto"
    quantization: Quantization = Field(
        default="none",
        description="How the frozen matrices of the base are held: as computed with, in 8 bits, or in 4 (NF4)",
        json_schema_extra={
            "ui": {"label": "Base weights", "words": {"none": "In full", "int8": "8 bits", "nf4": "4 bits (NF4)"}}
        },
    )
    checkpointing: Auto | bool = "auto"
    packing: Auto | bool = "auto"
    eval_every: Auto | int = "auto"
    save_every: Auto | int = "auto"
    keep_checkpoints: int = Field(default=2, ge=1)
    early_stopping: int | None = Field(
        default=None, ge=1, description="Stop after this many evals without a better loss"
    )
    device: str = "auto"
    on_oom: OnOom = Field(
        default="halve",
        description="When memory runs out: go on with half the rows at once (the same steps, slower), or stop",
        json_schema_extra={"ui": {"label": "When memory runs out"}},
    )
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)

    @field_validator("micro_batch", "eval_every", "save_every")
    @classmethod
    def _positive(cls, value: Auto | int) -> Auto | int:
        if value != "auto" and value < 1:
            raise ValueError("must be at least 1, or auto")
        return value

    @field_validator("learning_rate")
    @classmethod
    def _positive_rate(cls, value: Auto | float) -> Auto | float:
        if value != "auto" and not 0 < value <= 10:
            raise ValueError("must be above 0 and at most 10, or auto")
        return value


class Limits(SpecPart):
    """What the run may use at most; a plan that would exceed one says so."""

    memory_gib: float | None = Field(default=None, gt=0)
    hours: float | None = Field(default=None, gt=0)
    watt_hours: float | None = Field(default=None, gt=0)


class RunSpec(SpecPart):
    """A whole run as its user wrote it."""

    version: Literal[1] = 1
    name: str = Field(default="run", min_length=1, max_length=120)
    task: Task = "sft"
    model: ModelRef
    data: DataRef
    method: MethodSpec
    train: TrainSpec = TrainSpec()
    limits: Limits = Limits()

    @field_validator("name")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            raise ValueError("must be one line of printable characters")
        return value


SOURCE_SCHEMES = ("library", "path", "hub")


def checked_source(value: str) -> str:
    """The source unchanged, if its scheme and name are well formed; ValueError otherwise."""
    scheme, _, rest = value.partition(":")
    if scheme not in SOURCE_SCHEMES or not rest.strip():
        raise ValueError("must be library:NAME, path:FILE_OR_FOLDER or hub:NAME")
    return value


@dataclass(frozen=True)
class ParsedSpec:
    """A spec with what is wrong with it.

    ``spec`` is the part that could be read: wrong entries are left at their defaults, so that checks that
    need the rest can still run and every problem is reported at once. None when a required part is missing;
    ``part`` then still reads the parts that are there.
    """

    spec: RunSpec | None
    problems: tuple[Problem, ...]
    usable: Mapping[str, Any] = field(default_factory=dict)

    def part(self, name: str, kind: type[PartT]) -> PartT | None:
        """One part of the spec, or None if it is missing or unusable."""
        try:
            return kind.model_validate(self.usable.get(name, {}))
        except ValidationError:
            return None


def parse_spec(raw: object) -> ParsedSpec:
    """Read a spec from plain data, with every structural problem at once."""
    if not isinstance(raw, Mapping):
        return ParsedSpec(None, (Problem("spec", "is not a mapping of keys to values", "see `pet-studio validate`"),))
    remaining = copy.deepcopy(dict(raw))
    problems: list[Problem] = []
    for _ in range(8):  # removing one wrong entry can uncover another; nesting is shallower than this
        try:
            return ParsedSpec(RunSpec.model_validate(remaining), tuple(problems), remaining)
        except ValidationError as error:
            for problem in _merged(error):
                if not any(_follows(problem.where, earlier.where) for earlier in problems):
                    problems.append(problem)
            removed = [_remove(remaining, entry["loc"]) for entry in error.errors()]
            if not any(removed):
                break
    return ParsedSpec(None, tuple(problems), remaining)


def _follows(where: str, earlier: str) -> bool:
    """Whether a problem at ``where`` is the earlier one, or comes of a wrong entry below it not counting."""
    return where == earlier or earlier.startswith(f"{where}.")


def _merged(error: ValidationError) -> list[Problem]:
    """One problem for each place: pydantic reports every branch of a union on its own."""
    by_place: dict[str, Problem] = {}
    for problem in map(_problem, error.errors()):
        first = by_place.get(problem.where)
        by_place[problem.where] = (
            problem
            if first is None
            else replace(first, message=f"{first.message.split(', got')[0]}; or {problem.message}", hint=problem.hint)
        )
    return list(by_place.values())


def _problem(entry: Any) -> Problem:
    loc = _data_location(entry["loc"])
    where = ".".join(str(part) for part in loc) or "spec"
    kind = entry["type"]
    if kind == "extra_forbidden":
        known = _keys_at(loc[:-1])
        return Problem(where, "is not a known key", did_you_mean(str(loc[-1]), known, listing=len(known)))
    if kind == "missing":
        return Problem(where, "is missing", f"add it; {PAGE}")
    message = _KINDS.get(kind) or plain_reason(str(entry["msg"]))
    given = entry.get("input")
    shown = f", got {short(given)}" if isinstance(given, str | int | float | bool) else ""
    return Problem(where, message + shown, _remedy(entry))


def _remedy(entry: Any) -> str:
    kind = entry["type"]
    if kind == "literal_error":
        return did_you_mean(str(entry["input"]), _literals(str(entry["ctx"]["expected"])))
    if kind == "model_type":
        return f"its keys: {', '.join(_keys_at(_data_location(entry['loc'])))}; {PAGE}"
    if kind in _SHAPES:
        return PAGE
    return "write a value of that kind, or leave the key out for the default"


def _literals(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


PAGE = "the help page 'Spec files' has an example"
_SHAPES = {
    "model_type": "must be keys with their values, `key: value`",
    "dict_type": "must be keys with their values, `key: value`",
    "tuple_type": "must be a list, each entry after a `- `",
    "too_short": "must list at least one",
}
_KINDS = {
    **_SHAPES,
    "int_parsing": "must be a whole number", "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number", "float_type": "must be a number",
    "bool_parsing": "must be true or false", "bool_type": "must be true or false", "string_type": "must be text",
}  # fmt: skip
_UNION_TAGS = {"int", "float", "bool", "str"}


def _data_location(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A pydantic location without the branch names it adds for unions."""
    return tuple(p for p in loc if not (isinstance(p, str) and (p in _UNION_TAGS or p.startswith("literal["))))


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    part: Any = RunSpec
    for key in loc:
        if isinstance(key, int):
            continue
        annotation = part.model_fields[key].annotation
        inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type)]
        part = next((a for a in inner if issubclass(a, SpecPart)), None)
        if part is None:
            return []
    return list(part.model_fields)


def _remove(raw: dict[str, Any], loc: tuple[int | str, ...]) -> bool:
    """Take the wrong entry out, so that its default applies; whether anything was taken."""
    path = _data_location(loc)
    holder: Any = raw
    for key in path[:-1]:
        try:
            holder = holder[key]
        except (KeyError, IndexError, TypeError):
            return False
    last = path[-1] if path else None
    if isinstance(holder, dict) and last in holder:
        del holder[last]
        return True
    if isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        del holder[last]
        return True
    return False
