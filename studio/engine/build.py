"""Loading a base model for a plan: local files only, the plan's precision, everything frozen."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from studio.core.errors import MachineError, UserError
from studio.core.plan import Plan
from studio.engine.dropped_attention import attend_dropping
from studio.engine.lean_modules import make_lean
from studio.engine.row_attention import attend_by_row
from studio.models.sites import find_sites

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def seed_everything(seed: int) -> None:
    """Set the seed of every random source that training draws from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def load_base(plan: Plan, *, pad_id: int | None) -> nn.Module:
    """The base model, frozen, in the compute precision and on the plan's device, packed if the plan says so.

    A classification head that the weights lack is drawn from the plan's seed.

    Raises:
        UserError: the folder does not hold a model of the task's kind.
        MachineError: it does not fit the device's memory.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {
        "dtype": DTYPES[plan.precision],
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
    }
    if plan.quantization != "none":
        from studio.engine.packed_loading import PackingConfig

        options["quantization_config"] = PackingConfig(
            plan.quantization, find_sites(Path(plan.model_path)), plan.device
        )
    seed_everything(plan.seed)
    try:
        if plan.task == "classification":
            options |= {
                "num_labels": len(plan.labels),
                "id2label": dict(enumerate(plan.labels)),
                "label2id": {label: i for i, label in enumerate(plan.labels)},
            }
        model = model_class(classification=plan.task == "classification").from_pretrained(plan.model_path, **options)
    except torch.OutOfMemoryError as error:
        raise MachineError("the model does not fit the device's memory", where=plan.device) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"the base model does not load: {str(error).splitlines()[0]}",
            where=plan.model_path,
            hint="inspect it with `pet-studio models inspect`, or add it again",
        ) from error
    return prepare_base(model, plan, pad_id=pad_id, on_cpu=plan.device == "cpu").to(plan.device)  # type: ignore[no-any-return]


def model_class(*, classification: bool) -> Any:
    """The class of transformers that makes a task's model."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    return AutoModelForSequenceClassification if classification else AutoModelForCausalLM


def prepare_base(model: Any, plan: Plan, *, pad_id: int | None, on_cpu: bool) -> Any:
    """A base model as training uses it: frozen, without a cache, recomputing where the plan says so."""
    model.config.use_cache = False
    if pad_id is not None and (model.config.pad_token_id is None or plan.task == "classification"):
        model.config.pad_token_id = pad_id
    model.requires_grad_(False)
    make_lean(model, on_cpu=on_cpu)
    if on_cpu:
        (attend_by_row if plan.packing else attend_dropping)(model)
    if plan.checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        # it makes the embeddings require gradients, which would carry the backward pass below the lowest trained layer
        model.disable_input_require_grads()
    return model
