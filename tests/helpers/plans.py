"""Plans for engine tests, made without the services above the engine."""

from pathlib import Path
from typing import Any

from studio.core.plan import Plan, PlannedPlacement
from studio.datasets.library import DatasetLibrary
from studio.extensions.declaring import count_tensors, declare_at, planned_sites
from studio.extensions.methods import load_here
from studio.extensions.registry import discover
from studio.models.sites import find_sites, sites_for_task
from studio.models.where import select


def make_plan(
    model: Path,
    data: Path,
    root: Path,
    *,
    columns: dict[str, str],
    use: str = "lora",
    params: dict[str, Any] | None = None,
    where: str | None = None,
    head: int = 0,
    **overrides: Any,
) -> Plan:
    """A plan of one placement on the CPU; ``head`` is the size of the task head."""
    task = overrides.get("task", "sft")
    facts = DatasetLibrary(root).add(
        data, mapping=columns, format="classification" if task == "classification" else "prompt-completion"
    )
    method = load_here(discover().get(use, "method"))
    parsed, problems = method.parse(params or {}, "params")
    assert parsed is not None, problems
    offered = sites_for_task(find_sites(model), task)
    sites = [site for site in select(offered, where or method.traits.where) if method.traits.takes(site)]
    declared = declare_at(method, parsed, sites)
    trainable = sum(count_tensors([declared]).values())
    placement = PlannedPlacement(
        use=use, version="1.0.0", where=where or method.traits.where, params=parsed.model_dump(mode="json"),
        sites=planned_sites(method, sites, declared), trainable=trainable,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "task": task, "model_source": f"path:{model}", "model_path": str(model), "model_fingerprint": "x",
        "data_source": f"path:{data}", "data_path": facts.path, "data_fingerprint": facts.fingerprint,
        "format": facts.format, "columns": columns, "labels": facts.labels, "train_rows": facts.rows - 12,
        "eval_rows": 12, "split_seed": 0, "max_rows": None, "max_length": 32, "placements": (placement,),
        "train_head": task == "classification", "trainable": trainable + head, "total": 0, "device": "cpu",
        "device_name": "CPU",
        "precision": "fp32", "micro_batch": 4, "accumulation": 2, "effective_batch": 8, "steps": 8,
        "tokens_per_step": 0, "learning_rate": 1e-2, "weight_decay": 0.0, "schedule": "cosine", "warmup_steps": 1,
        "clip_norm": 1.0, "checkpointing": False, "packing": False, "eval_every": 4, "save_every": 4,
        "keep_checkpoints": 2, "early_stopping": None, "seed": 0, "autos": (),
    }  # fmt: skip
    return Plan.model_validate({**fields, **overrides})
