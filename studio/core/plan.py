"""Plan: a spec with every ``auto`` resolved, each with its reason; immutable once a run starts."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from studio.core.forecast import Estimate
from studio.core.problems import Problem
from studio.core.spec import Gate, OnOom, Quantization

PLAN_VERSION = 1


class PlanPart(BaseModel):
    """Base of the plan types: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Auto(PlanPart):
    """One automatic choice: the spec field (or, where a spec has no say, what it is of), the value chosen and why."""

    field: str
    value: Any
    reason: str


class PlannedPlacement(PlanPart):
    """A method with its complete parameters at its resolved sites (canonical site paths).

    ``trainable`` counts the scalars it declares.
    """

    use: str
    version: str
    where: str
    params: dict[str, Any]
    sites: tuple[str, ...]
    trainable: int
    gate: Gate = None


class Plan(PlanPart):
    """Everything the worker needs to know, in its final form.

    Steps are optimizer steps; lengths are tokens; ``columns`` maps roles to column names or templates.
    ``start`` is the folder of the adapter that the run goes on from.
    ``date`` (YYYY-MM-DD) is what chat templates take for today, so that a run resumed later sees the same text.
    """

    version: Literal[1] = 1
    task: str
    model_source: str
    model_path: str
    model_fingerprint: str
    data_source: str
    data_path: str
    data_fingerprint: str
    format: str
    columns: dict[str, str]
    labels: tuple[str, ...] = ()
    train_rows: int
    eval_rows: int
    split_seed: int
    max_rows: int | None
    max_length: int
    placements: tuple[PlannedPlacement, ...]
    train_head: bool
    trainable: int
    total: int
    device: str
    device_name: str
    precision: Literal["bf16", "fp16", "fp32"]
    quantization: Quantization = "none"
    micro_batch: int
    accumulation: int
    effective_batch: int
    steps: int
    tokens_per_step: int
    learning_rate: float
    weight_decay: float
    schedule: str
    warmup_steps: int
    clip_norm: float | None
    checkpointing: bool
    packing: bool
    eval_every: int
    save_every: int
    keep_checkpoints: int
    early_stopping: int | None
    seed: int
    on_oom: OnOom = "halve"
    limit_seconds: float | None = None
    limit_watt_hours: float | None = None
    date: str = ""
    start: str = ""
    autos: tuple[Auto, ...]

    def content_hash(self) -> str:
        """SHA-256 of the plan; two runs with the same hash do the same work."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True)
class PlanOutcome:
    """A plan with its estimate, or the problems that stand in the way; warnings come with a plan."""

    plan: Plan | None
    estimate: Estimate | None
    problems: tuple[Problem, ...] = ()
