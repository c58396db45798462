"""How far the formula is from what the engine really keeps and really peaks at, on small models of many families.

Run it by hand: ``python -m tests.bench.formula_accuracy [FAMILY …]``. Truth is every allocation of one forward
and backward pass on the CPU, counted by storage. Weights and optimizer state are exact by construction and
left out; so are gradients, which fill up while activations are freed.
"""

import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from studio.core.facts import DeviceFacts
from studio.engine.attach import Attached, Placed, attach
from studio.engine.batches import Row, collate
from studio.engine.tasks import batch_logits, loss_sum
from studio.estimate.activations import measure_activations
from studio.estimate.batches import largest_batch
from studio.estimate.families import family_of
from studio.estimate.footprint import measure_footprint
from studio.estimate.inputs import EstimateInputs
from studio.estimate.memory import phases
from studio.extensions.declaring import declare_at
from studio.extensions.loader import load_method
from studio.extensions.registry import discover
from studio.models.inspect import inspect_model
from studio.models.sites import find_sites
from studio.models.where import select

COMMON: dict[str, Any] = {
    "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 512, "head_dim": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
MULTI_HEAD = {**COMMON, "num_key_value_heads": 6}
GPT2 = {"n_embd": 192, "n_layer": 4, "n_head": 6, "vocab_size": 1024, "n_positions": 512, "pad_token_id": 0}
DISTIL = {"dim": 192, "n_layers": 4, "n_heads": 6, "hidden_dim": 512, "vocab_size": 1024, "pad_token_id": 0}
OPT = {**COMMON, "ffn_dim": 512, "word_embed_proj_dim": 192}
CONFIGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "granite", "gemma"), COMMON),
    "olmo2": MULTI_HEAD, "starcoder2": COMMON, "stablelm": COMMON, "gemma3_text": {**COMMON, "sliding_window": 64},
    "gpt2": GPT2, "gpt_neox": MULTI_HEAD, "opt": OPT, "phi": MULTI_HEAD,
    **dict.fromkeys(("bert", "roberta", "electra", "modernbert"), MULTI_HEAD), "distilbert": DISTIL,
}  # fmt: skip
ENCODERS = frozenset({"bert", "roberta", "electra", "distilbert", "modernbert"})
LINEAR = "kind == linear and layer >= 0"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROWS, LENGTH, TRAINED = 4, 96, 48


@dataclass(frozen=True)
class Case:
    """One measurement: a model family, where a method sits, and how it trains."""

    family: str
    precision: str = "bf16"
    checkpointing: bool = False
    method: str = "lora"
    where: str = LINEAR
    padded: bool = True
    dropout: bool = False

    def __str__(self) -> str:
        options = [self.precision, "checkpointing"] if self.checkpointing else [self.precision]
        options += [] if self.padded else ["no padding"]
        options += ["dropout"] if self.dropout else []
        place = "" if self.where == LINEAR else f" at {self.where}"
        return f"{self.family:12} {self.method}{place}, {', '.join(options)}"


class Ledger(TorchDispatchMode):
    """Bytes of every storage made while it is active: now and at most; ``known`` tensors were there before."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._live = {tensor.untyped_storage()._cdata: 0 for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._track(leaf.untyped_storage())
        return out

    def _track(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._live:
            self._live[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self._live.pop(key)


@contextmanager
def model_folder(case: Case) -> Iterator[Path]:
    """A folder with a random model of the family, as the library would hold it."""
    config = CONFIG_MAPPING[case.family](**CONFIGS[case.family])
    kind = AutoModelForSequenceClassification if case.family in ENCODERS else AutoModelForCausalLM
    with tempfile.TemporaryDirectory() as folder:
        kind.from_config(config).save_pretrained(folder)
        yield Path(folder)


def load(case: Case, folder: Path) -> torch.nn.Module:
    """The model as the worker loads it."""
    kind = AutoModelForSequenceClassification if case.family in ENCODERS else AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype=DTYPES[case.precision]).requires_grad_(False)
    model.config.use_cache = False
    if case.checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        model.disable_input_require_grads()
    for module in model.modules():
        if not case.dropout and isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train()  # type: ignore[no-any-return]


def rows(case: Case) -> list[Row]:
    """Rows of random tokens; the first is shorter when padding is wanted."""
    lengths = [LENGTH - 8 if case.padded else LENGTH, *[LENGTH] * (ROWS - 1)]
    random = np.random.default_rng(0)
    return [
        Row(random.integers(3, 1000, n), np.arange(n) >= n - TRAINED, 0 if case.family in ENCODERS else -1)
        for n in lengths
    ]


@dataclass(frozen=True)
class Result:
    """Bytes kept after the forward pass and at the peak, by the formula and in truth."""

    kept: int
    kept_truth: int
    peak: int
    peak_truth: int

    def errors(self) -> tuple[float, float]:
        return self.kept / self.kept_truth - 1, self.peak / self.peak_truth - 1


def measure(case: Case) -> Result:
    """Compare one case."""
    with model_folder(case) as folder:
        facts, sites = inspect_model(folder), find_sites(folder)
        method = load_method(discover().get(case.method, "method"))
        chosen = tuple(site for site in select(sites, case.where) if method.traits.takes(site))
        params = method.module.Params()
        attached = attach(load(case, folder), [Placed(method, params, chosen)], train_head=False, seed=0)
        inputs = EstimateInputs(
            model=facts, device=DeviceFacts(id="cpu", name="", kind="cpu", total_bytes=0, free_bytes=0),
            task="classification" if case.family in ENCODERS else "sft", precision=case.precision,  # type: ignore[arg-type]
            micro_batch=ROWS, accumulation=1, steps=1, train_rows=ROWS, eval_rows=0, eval_every=1, max_length=LENGTH,
            checkpointing=case.checkpointing, packing=False, declared=declare_at(method, params, chosen),
            masked=case.padded, dropout=case.dropout,
        )  # fmt: skip
        return _compare(case, inputs, attached)


def _compare(case: Case, inputs: EstimateInputs, attached: Attached) -> Result:
    batch = collate(rows(case), pad_id=0, device="cpu", packed=False, classes=not inputs.language)
    own = [batch.ids, batch.mask, batch.predicts, batch.targets, *attached.tensors.values()]
    ledger = Ledger([*attached.model.parameters(), *attached.model.buffers(), *(t for t in own if t is not None)])
    with ledger:
        loss = loss_sum(batch_logits(attached.model, batch), batch)
        kept_truth = ledger.now
        loss.backward()
    family = family_of(inputs.model)
    footprint = measure_footprint(inputs.declared, family)
    shape = largest_batch(inputs)
    shape = replace(shape, trained=float(batch.targets.numel()) if inputs.language else 0.0)
    kept = measure_activations(inputs, shape, family, footprint)
    log_probabilities = round(4 * shape.trained * inputs.model.vocab)
    casts = footprint.base * inputs.width if inputs.precision != "fp32" else 0
    peak = max(phase.total for phase in phases(inputs, shape, kept, footprint))
    return Result(kept.kept + log_probabilities, kept_truth - casts, peak, ledger.peak - casts)


def cases(families: list[str]) -> Iterator[Case]:
    """Every family in both precisions with and without checkpointing, then the placements of two."""
    for family, precision, checkpointing in product(families or CONFIGS, DTYPES, (False, True)):
        yield Case(family, precision, checkpointing)
    if families:
        return
    for where in ("role in (q, v)", "role in (q, v) and layer >= 2", "role == down and layer >= 1", "role == o"):
        yield Case("llama", where=where)
        yield Case("bert", where=where.replace("down", "fc2"))
        yield Case("llama", where=where, checkpointing=True)
    yield Case("llama", padded=False)
    yield Case("bert", padded=False)
    yield Case("bert", dropout=True)
    yield Case("bert", "fp32", dropout=True)
    yield Case("bert", method="bitfit", where="kind in (linear, norm) and layer >= 0")
    for method_where in ("kind == norm", LINEAR, "kind in (linear, norm, embedding)"):
        yield Case("llama", method="full", where=method_where)
        yield Case("llama", "fp32", method="full", where=method_where)


def main() -> None:
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print(f"{'case':64} {'kept':>9} {'truth':>9} {'error':>7} {'peak':>9} {'truth':>9} {'error':>7}   (KiB)")
    for case in cases(sys.argv[1:]):
        result = measure(case)
        kept_error, peak_error = result.errors()
        print(
            f"{case!s:64} {result.kept / 1024:9.0f} {result.kept_truth / 1024:9.0f} {kept_error:+7.1%}"
            f" {result.peak / 1024:9.0f} {result.peak_truth / 1024:9.0f} {peak_error:+7.1%}"
        )


if __name__ == "__main__":
    main()
