"""Peak resident set of a real process that trains a random 135M decoder with LoRA, against the formula.

Run it by hand: ``python -m tests.bench.process_memory``; each case runs in its own process.
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from studio.service.start_run import worker_settings

CASES = (
    "1 64 6 bf16 False", "4 256 25 bf16 False", "4 256 256 bf16 False", "4 256 25 bf16 True", "4 256 256 bf16 True",
    "8 128 12 bf16 False", "4 512 10 bf16 False", "2 256 25 fp32 False", "2 256 256 fp32 True",
)  # fmt: skip
CONFIG: dict[str, Any] = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49_152, "tie_word_embeddings": True, "max_position_embeddings": 8192,
}  # fmt: skip
STEPS, MICRO_BATCHES, RANK = 3, 2, 16


@dataclass(frozen=True)
class Case:
    """Rows of a micro-batch, their tokens, how many of them carry loss, precision, checkpointing."""

    rows: int
    length: int
    trained: int
    precision: str
    checkpointing: bool

    @classmethod
    def parse(cls, words: str) -> "Case":
        rows, length, trained, precision, checkpointing = words.split()
        return cls(int(rows), int(length), int(trained), precision, checkpointing == "True")


def make_model(folder: Path) -> None:
    """Save the random decoder in bf16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(LlamaConfig(**CONFIG)).to(torch.bfloat16).save_pretrained(folder)


def train(case: Case, folder: Path) -> str:
    """Train a few steps in this process; its peak and the formula's in words."""
    import numpy as np
    import torch

    from studio.engine.attach import Placed, attach
    from studio.engine.batches import Row, collate
    from studio.engine.build import load_base
    from studio.engine.tasks import batch_loss
    from studio.extensions.declaring import declare_at
    from studio.extensions.loader import load_method
    from studio.extensions.registry import discover
    from studio.models.sites import find_sites
    from studio.models.where import select

    torch.set_num_threads(1)
    plan = SimpleNamespace(
        precision=case.precision, seed=0, task="sft", model_path=str(folder), checkpointing=case.checkpointing,
        device="cpu", packing=False,
    )  # fmt: skip
    model = load_base(cast("Any", plan), pad_id=0)
    method = load_method(discover().get("lora", "method"))
    sites = select(find_sites(folder), "kind == linear and layer >= 0")
    params = method.module.Params(rank=RANK)
    attached = attach(model, [Placed(method, params, sites)], sites=find_sites(folder), train_head=False, seed=0)
    optimizer = torch.optim.AdamW(attached.tensors.values(), fused=True)
    model.train()
    random = np.random.default_rng(0)
    for _ in range(STEPS):
        for _ in range(MICRO_BATCHES):
            lengths = [case.length - 3, *[case.length] * (case.rows - 1)]
            rows = [Row(random.integers(3, 1000, n), np.arange(n) >= n - case.trained) for n in lengths]
            batch = collate(rows, pad_id=0, device="cpu", packed=False, classes=False)
            batch_loss(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    peak = peak_bytes()
    formula = predict(case, folder, declare_at(method, params, sites))
    return f"{case!s:100} {peak >> 20:6} MiB, formula {formula >> 20:6} MiB, {formula / peak - 1:+.1%}"


def peak_bytes() -> int:
    """The kernel's high-water mark of this program; ``ru_maxrss`` would inherit that of the parent."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found.group(1)) * 1024


def predict(case: Case, folder: Path, declared: Any) -> int:
    """The formula's total for the case."""
    from studio.core.facts import DeviceFacts, LengthFacts
    from studio.estimate.inputs import EstimateInputs
    from studio.estimate.memory import measure_memory
    from studio.models.inspect import inspect_model

    length = case.length
    facts = LengthFacts(
        sampled=100, mean=length, p50=length, p95=length, longest=length, trained=case.trained, truncated=0,
        max_length=length,
    )  # fmt: skip
    inputs = EstimateInputs(
        model=inspect_model(folder), device=DeviceFacts(id="cpu", name="", kind="cpu", total_bytes=0, free_bytes=0),
        task="sft", precision=cast("Any", case.precision), micro_batch=case.rows, accumulation=MICRO_BATCHES,
        steps=STEPS, train_rows=100, eval_rows=0, eval_every=1, max_length=length, checkpointing=case.checkpointing,
        packing=False, declared=declared, lengths=facts,
    )  # fmt: skip
    return measure_memory(inputs).total


def main() -> None:
    if len(sys.argv) == 3:
        print(train(Case.parse(sys.argv[2]), Path(sys.argv[1])), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        for words in CASES:
            subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "tests.bench.process_memory", folder, words],
                check=True, env={**os.environ, **worker_settings()},
            )  # fmt: skip


if __name__ == "__main__":
    main()
