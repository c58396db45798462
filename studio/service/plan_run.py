"""From a spec to a plan: every ``auto`` resolved with its reason, and the estimate that goes with it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from studio.core.facts import DeviceFacts, LengthFacts, ModelFacts
from studio.core.forecast import Estimate
from studio.core.plan import Auto, Plan, PlannedPlacement, PlanOutcome
from studio.core.problems import Problem
from studio.core.spec import RunSpec
from studio.core.units import format_bytes
from studio.estimate import EstimateInputs, estimate_run
from studio.extensions.declaring import count_added, count_tensors, planned_sites
from studio.service.libraries import models
from studio.service.plan_facts import classification_head_size, lengths_of, resolved_length
from studio.service.resolve import Resolved, count_resolved, resolve
from studio.service.run_history import measured_runs
from studio.service.settings import load as load_settings

CPU_MICRO_BATCH = 8
MOST_MICRO_BATCH = 64
EVALS_PER_RUN = 8


def plan_run(raw: RunSpec | Mapping[str, Any], *, devices: list[DeviceFacts] | None = None) -> PlanOutcome:
    """Resolve every choice of a spec without loading weights; torch-free."""
    found = resolve(raw, devices)
    errors = [problem for problem in found.problems if problem.severity == "error"]
    if errors or found.spec is None or found.model is None or found.data is None or found.device is None:
        return PlanOutcome(None, None, tuple(found.problems))
    draft = _Draft(found, found.spec, found.model, found.device, lengths_of(found))
    plan = draft.plan()
    estimate = estimate_run(draft.inputs(plan))
    return PlanOutcome(plan, estimate, (*found.problems, *_limit_problems(found.spec, estimate)))


def _limit_problems(spec: RunSpec, estimate: Estimate) -> list[Problem]:
    limits = spec.limits
    over: list[Problem] = []
    if limits.hours is not None and estimate.time.seconds > limits.hours * 3600:
        over.append(Problem("limits.hours", f"the run needs about {estimate.time.seconds / 3600:.1f} h",
                            "fewer steps or a smaller model", "warning"))  # fmt: skip
    watt_hours = estimate.energy.watt_hours
    if limits.watt_hours is not None and watt_hours is not None and watt_hours > limits.watt_hours:
        over.append(Problem("limits.watt_hours", f"the run needs about {watt_hours:.0f} Wh", "fewer steps", "warning"))
    if limits.memory_gib is not None and estimate.memory.total_bytes > limits.memory_gib * 2**30:
        over.append(Problem("limits.memory_gib", f"the run needs about {format_bytes(estimate.memory.total_bytes)}",
                            "see the advice of the estimate", "warning"))  # fmt: skip
    return over


@dataclass
class _Draft:
    """The choices of one plan while they are made."""

    found: Resolved
    spec: RunSpec
    model: ModelFacts
    device: DeviceFacts
    lengths: LengthFacts

    def __post_init__(self) -> None:
        self.autos: list[Auto] = []

    def plan(self) -> Plan:
        spec, train, found = self.spec, self.spec.train, self.found
        data = found.data
        assert data is not None
        usable = min(data.rows, spec.data.max_rows or data.rows)
        train_rows = usable - spec.data.split.eval
        steps = max(1, math.ceil(train.epochs * train_rows / train.effective_batch))
        if train.max_steps is not None:
            steps = min(steps, train.max_steps)
        trainable_head = self._head_parameters()
        added = count_added([p.declared for p in found.placements])
        precision = self._precision()
        every = math.ceil(steps / EVALS_PER_RUN)
        memory = {"precision": precision, "steps": steps, "train_rows": train_rows}
        micro_batch, checkpointing = self._fit_memory(memory)
        return Plan(
            task=spec.task,
            model_source=spec.model.source,
            model_path=self.model.path,
            model_fingerprint=self.model.fingerprint,
            data_source=spec.data.source,
            data_path=data.path,
            data_fingerprint=data.fingerprint,
            format=self._noted("data.format", spec.data.format, found.format, "recognised by its columns"),
            columns=found.columns,
            labels=found.labels,
            train_rows=train_rows,
            eval_rows=spec.data.split.eval,
            split_seed=spec.data.split.seed,
            max_rows=spec.data.max_rows,
            max_length=self._noted("data.max_length", spec.data.max_length, self.max_length, self._length_reason()),
            placements=tuple(
                PlannedPlacement(
                    use=p.method.id,
                    version=p.method.plugin.manifest.version,
                    where=p.where,
                    params=p.params.model_dump(mode="json"),
                    sites=planned_sites(p.method, p.sites, p.declared),
                    trainable=sum(count_tensors([p.declared]).values()),
                    gate=p.gate,
                )
                for p in found.placements
            ),
            train_head=spec.task == "classification",
            trainable=count_resolved(found) + trainable_head,
            total=self.model.params + added + trainable_head,
            device=self._noted("train.device", train.device, self.device.id, found.device_reason),
            device_name=self.device.name,
            precision=precision,
            micro_batch=micro_batch,
            accumulation=train.effective_batch // micro_batch,
            effective_batch=train.effective_batch,
            steps=steps,
            tokens_per_step=round(self.lengths.mean * train.effective_batch),
            learning_rate=self._learning_rate(),
            weight_decay=train.weight_decay,
            schedule=train.schedule,
            warmup_steps=round(train.warmup * steps) if train.warmup < 1 else min(round(train.warmup), steps),
            clip_norm=train.clip_norm,
            checkpointing=checkpointing,
            packing=bool(
                self._noted("train.packing", train.packing, False, "rows of like length share a batch instead")
            ),
            eval_every=self._noted("train.eval_every", train.eval_every, every, f"about {EVALS_PER_RUN} evals a run"),
            save_every=self._noted("train.save_every", train.save_every, every, "a checkpoint with each eval"),
            keep_checkpoints=train.keep_checkpoints,
            early_stopping=train.early_stopping,
            seed=train.seed,
            limit_seconds=None if spec.limits.hours is None else spec.limits.hours * 3600,
            limit_watt_hours=spec.limits.watt_hours,
            start="" if spec.method.start is None else spec.method.start.removeprefix("path:"),
            date=datetime.now().astimezone().date().isoformat(),
            autos=tuple(self.autos),
        )

    def inputs(self, plan: Plan) -> EstimateInputs:
        """What the estimator needs to know about a plan."""
        return replace(
            self._inputs(precision=plan.precision, steps=plan.steps, train_rows=plan.train_rows),
            micro_batch=plan.micro_batch,
            checkpointing=plan.checkpointing,
            eval_every=plan.eval_every,
        )

    def _inputs(self, *, precision: Literal["bf16", "fp16", "fp32"], steps: int, train_rows: int) -> EstimateInputs:
        settings = load_settings()
        spec = self.spec
        return EstimateInputs(
            model=self.model,
            device=self.device,
            task=spec.task,
            precision=precision,
            micro_batch=1,
            accumulation=1,
            steps=steps,
            train_rows=train_rows,
            eval_rows=spec.data.split.eval,
            eval_every=math.ceil(steps / EVALS_PER_RUN),
            max_length=self.max_length,
            lengths=self.lengths,
            checkpointing=False,
            packing=False,
            head_params=self._head_parameters(),
            declared=tuple(pair for p in self.found.placements for pair in p.declared),
            effective_batch=spec.train.effective_batch,
            memory_cap_bytes=None if spec.limits.memory_gib is None else int(spec.limits.memory_gib * 2**30),
            tariff_per_kwh=settings.tariff_per_kwh,
            grid_g_per_kwh=settings.grid_g_per_kwh,
            history=measured_runs(models().list()),
            wheres=tuple(p.where for p in self.found.placements),
        )

    def _noted(self, field: str, written: Any, chosen: Any, reason: str) -> Any:
        """What the spec says, or the automatic choice with its reason on record."""
        if written != "auto":
            return written
        self.autos.append(Auto(field=field, value=chosen, reason=reason))
        return chosen

    @property
    def max_length(self) -> int:
        return resolved_length(self.spec, self.model)

    def _length_reason(self) -> str:
        whole = self.lengths.longest < self.max_length
        return (
            "no row is longer" if whole else f"{self.lengths.truncated} of {self.lengths.sampled} sampled rows are cut"
        )

    def _precision(self) -> Literal["bf16", "fp16", "fp32"]:
        device = self.device
        if device.bf16:
            choice, reason = "bf16", f"{device.name} computes bf16 natively; trainable tensors stay fp32"
        elif device.kind == "cuda":
            choice, reason = "fp16", f"{device.name} has no bf16; fp16 with loss scaling"
        else:
            choice, reason = "fp32", "this CPU has no bf16 instructions"
        return self._noted("train.precision", self.spec.train.precision, choice, reason)  # type: ignore[no-any-return]

    def _learning_rate(self) -> float:
        rates = {p.method.id: p.method.traits.learning_rate for p in self.found.placements}
        lowest = min(rates, key=lambda method: rates[method])
        return float(
            self._noted("train.learning_rate", self.spec.train.learning_rate, rates[lowest], f"the default of {lowest}")
        )

    def _fit_memory(self, fixed: dict[str, Any]) -> tuple[int, bool]:
        """Micro-batch and checkpointing: the largest that fits the device, without recomputing if possible."""
        train = self.spec.train
        base = self._inputs(**fixed)

        def verdict(size: int, checkpointing: bool) -> Estimate:
            return estimate_run(replace(base, micro_batch=size, checkpointing=checkpointing))

        most = CPU_MICRO_BATCH if self.device.kind == "cpu" else MOST_MICRO_BATCH
        sizes = [n for n in range(train.effective_batch, 0, -1) if train.effective_batch % n == 0 and n <= most] or [1]
        if train.micro_batch != "auto":
            sizes = [train.micro_batch]
        modes = [False, True] if train.checkpointing == "auto" else [train.checkpointing]
        size, checkpointing = _first_that_fits(sizes, modes, verdict)
        need = verdict(size, checkpointing).memory
        free = format_bytes(self.device.free_bytes)
        self._noted(
            "train.micro_batch", train.micro_batch, size,
            f"about {format_bytes(need.total_bytes)} of {free} free" + (
                "; more rows at once are no faster on a CPU" if self.device.kind == "cpu" and size == sizes[0] else ""),
        )  # fmt: skip
        self._noted(
            "train.checkpointing", train.checkpointing, checkpointing,
            "activations are recomputed to fit the memory" if checkpointing else "the activations fit the memory",
        )  # fmt: skip
        return size, checkpointing

    def _head_parameters(self) -> int:
        """Scalars of the classification head that the task adds to this model."""
        if self.spec.task != "classification":
            return 0
        return classification_head_size(self.model, len(self.found.labels))


def _first_that_fits(sizes: list[int], modes: list[bool], verdict: Callable[[int, bool], Estimate]) -> tuple[int, bool]:
    for checkpointing in modes:
        for size in sizes:
            if verdict(size, checkpointing).verdict in ("fits", "unknown"):
                return size, checkpointing
    return sizes[-1], modes[-1]
