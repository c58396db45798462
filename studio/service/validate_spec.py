"""All problems of a spec at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.problems import Problem
from studio.core.spec import RunSpec
from studio.service.resolve import resolve


@dataclass(frozen=True)
class Validated:
    """A spec without errors, or None, with everything found wrong."""

    spec: RunSpec | None
    problems: tuple[Problem, ...]


def validate(raw: RunSpec | Mapping[str, Any]) -> Validated:
    """Check structure, names, columns, parameters and sites, without loading weights.

    A data file that is named by its path is read into the library, as at its first use in a run.
    """
    found = resolve(raw)
    errors = [problem for problem in found.problems if problem.severity == "error"]
    return Validated(None if errors else found.spec, tuple(found.problems))
