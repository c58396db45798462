"""From a spec to a plan: every ``auto`` resolved with its reason, and the estimate that goes with it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from studio.core.facts import DeviceFacts, LengthFacts, ModelFacts
from studio.core.forecast import Estimate
from studio.core.plan import Auto, Plan, PlannedPlacement, PlanOutcome
from studio.core.problems import Problem
from studio.core.spec import RunSpec
from studio.core.units import format_bytes
from studio.estimate import EstimateInputs, estimate_run, judge
from studio.estimate.attention import kernel_of, packs_by_row
from studio.estimate.families import family_of
from studio.estimate.needs import simulated_batch
from studio.estimate.probed import apply_probe
from studio.estimate.profile import MemoryProfile
from studio.extensions.declaring import count_added, count_tensors, edited_sites, planned_sites
from studio.service.libraries import models
from studio.service.plan_facts import classification_head_size, lengths_of, resolved_length
from studio.service.probe_evidence import find_probe
from studio.service.resolve import Resolved, against_packing, available_formats, count_resolved, resolve
from studio.service.run_history import measured_runs, torch_version
from studio.service.settings import load as load_settings
from studio.service.simulation import SimulationError, Simulator

CPU_TOKENS = 660  # at once: fewer leave the processors waiting, more need much memory and are hardly faster
MOST_MICRO_BATCH = 64
EVALS_PER_RUN = 8


def plan_run(
    raw: RunSpec | Mapping[str, Any],
    *,
    devices: list[DeviceFacts] | None = None,
    simulator: Simulator | None = None,
) -> PlanOutcome:
    """Resolve every choice of a spec without loading weights; torch-free.

    With a ``simulator`` memory is simulated, which takes seconds, and choices rest on that; what it cannot simulate
    is left to the formula, with the reason in the estimate. What a probe of the same plan measured goes before both.
    """
    found = resolve(raw, devices)
    errors = [problem for problem in found.problems if problem.severity == "error"]
    if errors or found.spec is None or found.model is None or found.data is None or found.device is None:
        return PlanOutcome(None, None, tuple(found.problems))
    draft = _Draft(found, found.spec, found.model, found.device, lengths_of(found), simulator)
    plan, estimate = draft.decide()
    if (probe := find_probe(plan)) is not None:
        estimate = apply_probe(estimate, probe, draft.inputs(plan))
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
    simulator: Simulator | None = None
    autos: list[Auto] = field(default_factory=list)
    fallback: str = ""

    def decide(self) -> tuple[Plan, Estimate]:
        """The plan with the largest micro-batch that fits, without recomputing if possible, and its estimate."""
        train = self.spec.train
        sizes = self._micro_batches() if train.micro_batch == "auto" else [train.micro_batch]
        modes = [False, True] if train.checkpointing == "auto" else [train.checkpointing]
        for checkpointing in modes:
            base = self._plan(checkpointing=checkpointing)
            for size in sizes:
                plan = base.model_copy(update={"micro_batch": size, "accumulation": train.effective_batch // size})
                inputs, profile = self.inputs(plan), self._profile(plan)
                if judge(inputs, profile) in ("fits", "unknown"):
                    return self._explained(plan, estimate_run(inputs, profile), size == sizes[0])
        return self._explained(plan, estimate_run(inputs, profile), size == sizes[0])

    def _micro_batches(self) -> list[int]:
        """The sizes to try, the best first if it fits."""
        effective = self.spec.train.effective_batch
        sizes = [n for n in range(min(effective, MOST_MICRO_BATCH), 0, -1) if effective % n == 0]
        if self.device.kind != "cpu":
            return sizes
        best = min(sizes, key=lambda n: abs(math.log(n * max(self.lengths.mean, 1) / CPU_TOKENS)))
        return [n for n in sizes if n <= best]

    def _explained(self, plan: Plan, estimate: Estimate, first: bool) -> tuple[Plan, Estimate]:
        """The plan with the reasons of what its memory decided."""
        free = format_bytes(self.device.free_bytes)
        why = f"about {format_bytes(estimate.memory.total_bytes)} of {free} free"
        if self.device.kind == "cpu" and first:
            why += "; more rows at once are hardly faster on a CPU"
        self._noted("train.micro_batch", self.spec.train.micro_batch, plan.micro_batch, why)
        recomputes = "activations are recomputed to fit the memory"
        why = recomputes if plan.checkpointing else "the activations fit the memory"
        self._noted("train.checkpointing", self.spec.train.checkpointing, plan.checkpointing, why)
        kernel, why = kernel_of(self.inputs(plan), family_of(self.model))
        self.autos.append(Auto(field="attention", value=kernel, reason=why))
        return (
            plan.model_copy(update={"autos": tuple(self.autos)}),
            estimate.model_copy(update={"fallback": self.fallback}),
        )

    def _profile(self, plan: Plan) -> MemoryProfile | None:
        """What the simulator says of the plan's step; after its first failure nothing, with the reason noted."""
        if self.simulator is None or self.fallback:
            return None
        length, trained = simulated_batch(self.inputs(plan))
        alone = plan.micro_batch == 1
        try:
            return self.simulator.profile(plan, self.device, length=length, trained=trained, alone=alone)
        except SimulationError as error:
            self.fallback = error.message
            return None

    def _plan(self, *, checkpointing: bool) -> Plan:
        """The plan but for its micro-batch."""
        self.autos = []
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
            quantization=train.quantization,
            micro_batch=1,
            accumulation=train.effective_batch,
            effective_batch=train.effective_batch,
            steps=steps,
            tokens_per_step=round(self.lengths.mean * train.effective_batch),
            learning_rate=self._learning_rate(),
            weight_decay=train.weight_decay,
            schedule=train.schedule,
            warmup_steps=round(train.warmup * steps) if train.warmup < 1 else min(round(train.warmup), steps),
            clip_norm=train.clip_norm,
            checkpointing=checkpointing,
            packing=bool(self._noted("train.packing", train.packing, *self._packing())),
            eval_every=self._noted("train.eval_every", train.eval_every, every, f"about {EVALS_PER_RUN} evals a run"),
            save_every=self._noted("train.save_every", train.save_every, every, "a checkpoint with each eval"),
            keep_checkpoints=train.keep_checkpoints,
            early_stopping=train.early_stopping,
            seed=train.seed,
            on_oom=train.on_oom,
            limit_seconds=None if spec.limits.hours is None else spec.limits.hours * 3600,
            limit_watt_hours=spec.limits.watt_hours,
            start="" if spec.method.start is None else spec.method.start.removeprefix("path:"),
            date=datetime.now().astimezone().date().isoformat(),
            autos=tuple(self.autos),
        )

    def inputs(self, plan: Plan) -> EstimateInputs:
        """What the estimator needs to know about a plan."""
        settings = load_settings()
        spec = self.spec
        return EstimateInputs(
            model=self.model,
            device=self.device,
            task=spec.task,
            precision=plan.precision,
            quantization=plan.quantization,
            packable=self.found.packable,
            formats=available_formats(),
            micro_batch=plan.micro_batch,
            accumulation=plan.accumulation,
            steps=plan.steps,
            train_rows=plan.train_rows,
            eval_rows=plan.eval_rows,
            eval_every=plan.eval_every,
            max_length=self.max_length,
            lengths=self.lengths,
            checkpointing=plan.checkpointing,
            packing=plan.packing,
            head_params=self._head_parameters(),
            declared=tuple(pair for p in self.found.placements for pair in p.declared),
            effective_batch=spec.train.effective_batch,
            memory_cap_bytes=None if spec.limits.memory_gib is None else int(spec.limits.memory_gib * 2**30),
            tariff_per_kwh=settings.tariff_per_kwh,
            grid_g_per_kwh=settings.grid_g_per_kwh,
            history=measured_runs(models().list()),
            wheres=tuple(p.where for p in self.found.placements),
            method=" + ".join(p.method.id for p in self.found.placements),
            torch=torch_version(),
            extra_tokens=sum(p.extra_tokens for p in self.found.placements),
            backbone_grad=any(p.method.traits.backbone_grad for p in self.found.placements),
            edits=edited_sites((p.method, p.declared) for p in self.found.placements),
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

    def _packing(self) -> tuple[bool, str]:
        """Whether rows are packed, which pays where each is attended to on its own."""
        if against := against_packing(self.model, self.spec.task, self.found.placements):
            return False, against[0]
        family = family_of(self.model)
        declared = [pair for p in self.found.placements for pair in p.declared]
        if family.known and packs_by_row(self.device, family, declared):
            return True, "rows lie end to end, each attended to on its own, and nothing is padded"
        return False, "rows of like length share a batch instead"

    def _learning_rate(self) -> float:
        rates = {p.method.id: p.method.traits.learning_rate for p in self.found.placements}
        lowest = min(rates, key=lambda method: rates[method])
        return float(
            self._noted("train.learning_rate", self.spec.train.learning_rate, rates[lowest], f"the default of {lowest}")
        )

    def _head_parameters(self) -> int:
        """Scalars of the classification head that the task adds to this model."""
        if self.spec.task != "classification":
            return 0
        return classification_head_size(self.model, len(self.found.labels))
