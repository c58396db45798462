"""Plans of tiny random models to simulate, and what the engine really allocates for them."""

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from studio.core.plan import Plan, PlannedPlacement
from studio.core.spec import Quantization
from studio.engine.build import model_class
from studio.engine.evaluate import evaluate
from studio.engine.loop import step_over
from studio.extensions.declaring import count_tensors, declare_at, planned_sites
from studio.extensions.methods import load_here
from studio.extensions.registry import discover
from studio.models.sites import find_sites, sites_for_task
from studio.models.where import select
from studio.simulate.stand_in import Shape, open_session

LINEAR = "kind == linear and layer >= 0"
COMMON: dict[str, Any] = {
    "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 512, "head_dim": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
MULTI_HEAD = {**COMMON, "num_key_value_heads": 6}
GPT2 = {
    "n_embd": 192, "n_layer": 4, "n_head": 6, "vocab_size": 1024, "n_positions": 512, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
DISTIL = {"dim": 192, "n_layers": 4, "n_heads": 6, "hidden_dim": 512, "vocab_size": 1024, "pad_token_id": 0}
EXPERTS = {
    **COMMON, "num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "granite", "gemma"), COMMON),
    "olmo2": MULTI_HEAD, "starcoder2": COMMON, "stablelm": COMMON, "gemma2": COMMON,
    "gemma3_text": {**COMMON, "sliding_window": 64},
    "gpt2": GPT2, "gpt_neox": MULTI_HEAD, "opt": {**COMMON, "ffn_dim": 512, "word_embed_proj_dim": 192},
    "phi": MULTI_HEAD,
    "falcon": {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6, "vocab_size": 1024},
    "bloom": {"hidden_size": 192, "n_layer": 4, "n_head": 6, "vocab_size": 1024},
    "mixtral": EXPERTS, "qwen3_moe": EXPERTS,
    **dict.fromkeys(("bert", "roberta", "electra", "modernbert"), MULTI_HEAD), "distilbert": DISTIL,
    "deberta-v2": {
        **MULTI_HEAD, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": False,
        "norm_rel_ebd": "layer_norm", "position_buckets": 32,
    },
}  # fmt: skip
ENCODERS = frozenset({"bert", "roberta", "electra", "distilbert", "modernbert", "deberta-v2"})


@dataclass(frozen=True)
class Case:
    """A configuration: a family, where a method sits and how it trains, on micro-batches of one shape."""

    family: str
    method: str = "lora"
    precision: str = "fp32"
    checkpointing: bool = False
    packed: bool = False
    quantization: Quantization = "none"
    params: dict[str, Any] = field(default_factory=dict)
    where: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    rows: int = 4
    length: int = 96
    trained: int = 48

    def __str__(self) -> str:
        words = [self.family, self.method, self.precision, "packed" if self.packed else "padded"]
        words += [] if self.quantization == "none" else [self.quantization]
        words += [f"vocabulary={self.changes['vocab_size']}"] if "vocab_size" in self.changes else []
        return " ".join([*words, "recomputing"] if self.checkpointing else words)

    @property
    def shape(self) -> Shape:
        return Shape(self.rows, self.length, self.trained, uneven=self.rows > 1 and not self.packed)


@contextmanager
def planned(case: Case) -> Iterator[Plan]:
    """The plan of a case over a random model in a folder of its own."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = CONFIG_MAPPING[case.family](**CONFIGS[case.family] | case.changes)
    classes = case.family in ENCODERS
    with tempfile.TemporaryDirectory() as folder:
        model_class(classification=classes).from_config(config).save_pretrained(folder)
        yield plan_of(case, Path(folder))


def plan_of(case: Case, folder: Path) -> Plan:
    """The plan of a case over the model in a folder."""
    classes = case.family in ENCODERS
    task = "classification" if classes else "sft"
    method = load_here(discover().get(case.method, "method"))
    parsed, problems = method.parse(case.params, "params")
    assert parsed is not None, problems
    where = case.where or (LINEAR if case.method == "lora" else method.traits.where)
    offered = select(sites_for_task(find_sites(folder), task), where)
    sites = [site for site in offered if method.traits.takes(site)]
    declared = declare_at(method, parsed, sites)
    placement = PlannedPlacement(
        use=case.method, version="1", where=where, params=parsed.model_dump(mode="json"),
        sites=planned_sites(method, sites, declared), trainable=sum(count_tensors([declared]).values()),
    )  # fmt: skip
    fields: dict[str, Any] = {
        "task": task, "model_source": "", "model_path": str(folder), "model_fingerprint": "", "data_source": "",
        "data_path": "", "data_fingerprint": "", "format": "", "columns": {}, "labels": ("a", "b") if classes else (),
        "train_rows": 1, "eval_rows": 0, "split_seed": 0, "max_rows": None, "max_length": case.length,
        "placements": (placement,), "train_head": classes, "trainable": 0, "total": 0, "device": "cpu",
        "device_name": "CPU", "precision": case.precision, "quantization": case.quantization,
        "micro_batch": case.rows, "accumulation": 1,
        "effective_batch": case.rows, "steps": 2, "tokens_per_step": 1, "learning_rate": 1e-3, "weight_decay": 0.0,
        "schedule": "constant", "warmup_steps": 0, "clip_norm": 1.0, "checkpointing": case.checkpointing,
        "packing": case.packed, "eval_every": 1, "save_every": 1, "keep_checkpoints": 1, "early_stopping": None,
        "seed": 0, "autos": (),
    }  # fmt: skip
    return Plan.model_validate(fields)


def measure_peak(plan: Plan, shape: Shape, *, held_out: int, micro_batches: int = 1) -> int:
    """Bytes at the highest moment of two real steps and an evaluation on the CPU, by torch's profiler."""
    gc.collect()  # what earlier measurements left would be freed in the middle of this one
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        session = open_session(plan, shape, device="cpu", held_out=held_out)
        session.model.train()
        for _ in range(2):
            step_over(session, session.train_rows * micro_batches)
        if held_out:
            evaluate(session.model, session.eval_rows, session.plan, pad_id=0, at_once=held_out)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def single_threaded() -> None:
    """More threads have more buffers of their own; the tests' machine decides how many there would be."""
    torch.set_num_threads(1)
