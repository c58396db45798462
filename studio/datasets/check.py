"""Everything that is wrong with a format and its mapping, before any row is rendered."""

from collections.abc import Mapping, Sequence

from studio.core.errors import UserError
from studio.core.facts import DataFacts
from studio.core.problems import Problem, did_you_mean
from studio.datasets.formats import FORMATS, Format
from studio.datasets.labels import MAX_LABELS
from studio.datasets.templates import template_for


def check_mapping(facts: DataFacts, format: str, mapping: Mapping[str, str], labels: Sequence[str]) -> list[Problem]:
    """All problems of reading the dataset this way, each with its path in the spec."""
    entry = FORMATS.get(format)
    if entry is None:
        return [Problem("data.format", f"unknown format {format!r}", did_you_mean(format, FORMATS))]
    problems = [
        Problem(f"data.columns.{role}", f"the format {format} needs it", _columns_hint(facts))
        for role in entry.required
        if not mapping.get(role)
    ]
    for role, value in mapping.items():
        if role not in entry.roles:
            hint = did_you_mean(role, entry.roles)
            problems.append(Problem(f"data.columns.{role}", f"the format {format} has no such role", hint))
        elif value:
            problems += _check_value(facts, entry, role, value)
    if format == "classification" and not problems:
        problems += _check_labels(labels)
    return problems


def check_task(task: str, format: str) -> list[Problem]:
    """Whether a task can learn from a format."""
    if task == "classification" and format != "classification":
        return [
            Problem(
                "data.format",
                f"the task classification needs texts with classes, not {format}",
                "set data.format: classification and map the roles text and label",
            )
        ]
    if task != "classification" and format == "classification":
        return [
            Problem(
                "data.format",
                f"the task {task} needs text to write, not classes",
                "set task: classification, or map prompt and completion with format prompt-completion",
            )
        ]
    return []


def _check_value(facts: DataFacts, entry: Format, role: str, value: str) -> list[Problem]:
    where = f"data.columns.{role}"
    if role in entry.structured:
        if value in facts.columns:
            return []
        return [Problem(where, f"{value!r} is no column", did_you_mean(value, facts.columns))]
    try:
        template_for(value, facts.columns)
    except UserError as error:
        return [Problem(where, error.message, error.hint)]
    return []


def _check_labels(labels: Sequence[str]) -> list[Problem]:
    if len(labels) < 2:
        found = f"only {labels[0]!r}" if labels else "none"
        return [Problem("data.columns.label", f"at least two classes are needed, found {found}", "map another column")]
    if len(labels) > MAX_LABELS:
        return [Problem("data.columns.label", f"{len(labels)} classes are too many", f"at most {MAX_LABELS}")]
    return []


def _columns_hint(facts: DataFacts) -> str:
    return f"name a column or write a template; columns: {', '.join(facts.columns[:12])}"
