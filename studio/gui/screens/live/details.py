"""What a run folder says about a run besides its events: name, plan, estimate."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from studio.core.errors import UserError
from studio.core.forecast import Estimate
from studio.core.plan import Plan
from studio.rundir.layout import RunFolder, read_json

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class RunDetails:
    """The unchanging part of a run, ready to show. ``problem`` says what of it could not be read."""

    folder: RunFolder
    name: str
    about: str
    steps: int | None
    plan: Plan | None
    estimate: Estimate | None
    problem: str = ""


def load_details(path: Path) -> RunDetails:
    """Read a run folder.

    Raises:
        UserError: there is no such run, or its spec cannot be read.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise UserError(f"there is no run {folder.id!r}", where=str(path), hint="choose a run in Runs")
    spec = read_json(folder.spec)
    plan, plan_problem = _read(folder.plan, Plan)
    estimate, estimate_problem = _read(folder.estimate, Estimate)
    problem = "; ".join(part for part in (plan_problem, estimate_problem) if part)
    name = _labelled_name(folder) or str(spec.get("name") or folder.id)
    return RunDetails(folder, name, _about(spec, plan), _steps(folder), plan, estimate, problem)


def _read(path: Path, kind: type[M]) -> tuple[M | None, str]:
    if not path.exists():
        return None, ""
    try:
        return kind.model_validate(read_json(path)), ""
    except ValidationError as error:
        return None, f"{path.name} was written by another version ({error.error_count()} fields differ)"


def _steps(folder: RunFolder) -> int | None:
    """The planned steps, also of a plan that another version wrote."""
    raw = read_json(folder.plan) if folder.plan.exists() else {}
    steps = raw.get("steps") if isinstance(raw, dict) else None
    return steps if isinstance(steps, int) else None


def _about(spec: dict[str, object], plan: Plan | None) -> str:
    parts = [_source(spec.get("model")), _source(spec.get("data")), _methods(spec.get("method"))]
    if plan is not None:
        parts.append(f"{plan.trainable:,} trainable parameters")
        parts.append(plan.device)
    return "  ·  ".join(part for part in parts if part)


def _source(part: object) -> str:
    source = part.get("source") if isinstance(part, dict) else None
    return str(source).partition(":")[2] if source else ""


def _methods(part: object) -> str:
    placements = part.get("placements") if isinstance(part, dict) else None
    return " + ".join(str(placement.get("use")) for placement in placements or [] if isinstance(placement, dict))


def _labelled_name(folder: RunFolder) -> str | None:
    if not folder.labels.exists():
        return None
    name = read_json(folder.labels).get("name")
    return str(name) if name else None
