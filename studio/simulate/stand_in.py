"""The worker's session without weights and data: the same model and placements, on meta tensors or with random ones."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from studio.api import Site
from studio.core.plan import Plan
from studio.engine.attach import Attached, attach
from studio.engine.batches import Row
from studio.engine.build import DTYPES, model_class, prepare_base
from studio.engine.optimizer import build_optimizer
from studio.engine.quantized import quantize_base
from studio.engine.session import Session, placements_of
from studio.models.sites import find_sites


@dataclass(frozen=True)
class Shape:
    """One micro-batch: ``rows`` of ``length`` tokens, of which ``trained`` carry loss in each row.

    ``uneven``: all rows but the first are a token shorter, so that there is padding and hence a mask.
    """

    rows: int
    length: int
    trained: int
    uneven: bool = True


def make_rows(shape: Shape, *, classes: bool) -> list[Row]:
    """Rows of that shape; what they say does not matter."""
    lengths = [shape.length - (1 if shape.uneven and i else 0) for i in range(shape.rows)]
    return [
        Row(
            ids=np.full(length, 3, dtype=np.int64),
            trained=np.arange(length) >= length - min(shape.trained, length - 1),
            label=0 if classes else -1,
        )
        for length in lengths
    ]


def open_session(
    plan: Plan,
    shape: Shape,
    *,
    device: str = "meta",
    like_cpu: bool = True,
    layers: int | None = None,
    held_out: int = 0,
) -> Session:
    """What a worker trains with, for one micro-batch of ``shape`` a step and ``held_out`` rows like it to evaluate."""
    rows = make_rows(shape, classes=plan.task == "classification")
    held = make_rows(replace(shape, rows=held_out), classes=plan.task == "classification")
    plan = plan.model_copy(
        update={
            "device": device, "micro_batch": shape.rows, "accumulation": 1, "effective_batch": shape.rows, "steps": 2,
        }
    )  # fmt: skip
    model = build_model(plan, like_cpu=like_cpu, layers=layers)
    sites = model_sites(plan.model_path, plan.model_fingerprint)
    here = tuple(site for site in sites if layers is None or site.layer is None or site.layer < layers)
    attached = attach_plan(plan, model, here)
    if device == "meta":
        optimizer: torch.optim.Optimizer = FusedAdam(list(attached.tensors.values()))
    else:
        optimizer = build_optimizer(attached, learning_rate=0.0, weight_decay=0.0)
    return Session(
        plan=plan, encoder=_Encoder(), train_rows=rows, eval_rows=held, choices=[], model=model,  # type: ignore[arg-type]
        attached=attached, optimizer=optimizer, scaler=torch.amp.GradScaler("cpu", enabled=False),
    )  # fmt: skip


class FusedAdam(torch.optim.Optimizer):
    """The memory of fused AdamW: two moments and a step count a tensor, and nothing while it works."""

    def __init__(self, tensors: Sequence[nn.Parameter]) -> None:
        super().__init__(tensors, {"lr": 0.0, "lr_mult": 1.0})
        for tensor in tensors:
            self.state[tensor] = {
                "step": torch.zeros((), dtype=torch.float32, device=tensor.device),
                "exp_avg": torch.zeros_like(tensor, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(tensor, requires_grad=False),
            }

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Change nothing: there are no values."""


class _Encoder:
    """What a step asks of an encoder."""

    pad_id = 0


def build_model(plan: Plan, *, like_cpu: bool = True, layers: int | None = None) -> nn.Module:
    """The plan's base model with random weights on its device, frozen; with ``layers`` blocks where that is given.

    ``like_cpu``: prepared as for a CPU, whatever the device.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(plan.model_path, local_files_only=True, trust_remote_code=False)
    if layers is not None:
        config = with_layers(config, layers)
    if plan.task == "classification":
        config.num_labels = len(plan.labels)
    with torch.device(plan.device):
        model = model_class(classification=plan.task == "classification").from_config(
            config, dtype=DTYPES[plan.precision], trust_remote_code=False
        )
    every = model_sites(plan.model_path, plan.model_fingerprint)
    here = (site for site in every if layers is None or site.layer is None or site.layer < layers)
    quantize_base(model, here, plan.quantization, DTYPES[plan.precision])
    return prepare_base(model, plan, pad_id=0, on_cpu=like_cpu)  # type: ignore[no-any-return]


def with_layers(config: Any, layers: int) -> Any:
    """The config of the same model with fewer blocks."""
    changed = copy.deepcopy(config)
    changed.num_hidden_layers = layers  # families with another name for it map this one
    if getattr(changed, "layer_types", None):
        changed.layer_types = changed.layer_types[:layers]
    return changed


def attach_plan(plan: Plan, model: nn.Module, sites: Sequence[Site]) -> Attached:
    """The plan's placements on the model, at those of their sites that it has."""
    here = {site.path for site in sites}
    kept = tuple(
        placement.model_copy(update={"sites": tuple(path for path in placement.sites if path in here)})
        for placement in plan.placements
    )
    placed = placements_of(plan.model_copy(update={"placements": kept}), sites)
    return attach(model, placed, sites=sites, train_head=plan.train_head, seed=plan.seed)


@lru_cache(maxsize=8)
def model_sites(path: str, fingerprint: str) -> tuple[Site, ...]:
    """The sites of the model folder with this fingerprint."""
    return find_sites(Path(path))
