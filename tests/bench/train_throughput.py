"""How fast and how small training is beside transformers' Trainer, with peft where it has the method.

Run it by hand on an idle machine, with the starter pack in the libraries:
``python -m tests.bench.train_throughput [--precision fp32] [--steps 12] [--rounds 2] [--cases lora-completion …]``.
Both sides train the same tensors from the same start on the same batches of eight rows in the same order, batches of
like lengths, with AdamW at one rate; each in a process of its own, in turn, ours in the environment that the studio
gives to its workers. The first two steps are warm-up. The peak is of the whole process, as the operating system tells.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.plan import Plan
from studio.core.units import format_bytes
from studio.service.start_run import worker_settings

DECODER, ENCODER = "library:smollm2-135m-instruct", "library:minilm-l6"
BATCH, WARM_UP, RATE, RANK = 8, 2, 2e-4, 8
MAPS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BOOLQ = {"source": "library:boolq", "max_rows": 1000}
TEXT = {**BOOLQ, "format": "text", "columns": {"text": "{passage}\nQuestion: {question}?\nAnswer: {label}"}}
IMDB = {"source": "library:imdb-sample", "max_rows": 1000, "max_length": 256}


@dataclass(frozen=True)
class Case:
    """What both sides train; ``theirs`` gives the other side's model its method.

    ``masters``: over there too the tensors that learn are in fp32, and computed with in the plan's precision.
    """

    use: str
    theirs: Callable[[Any], Any]
    params: dict[str, Any] = field(default_factory=dict)
    model: str = DECODER
    data: dict[str, Any] = field(default_factory=lambda: BOOLQ)
    task: str = "sft"
    where: str | None = None
    same_start: bool = True  # False where each side chooses its tensors by chance
    masters: bool = False


def peft_lora(base: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(base, LoraConfig(r=RANK, lora_alpha=16, target_modules=MAPS, task_type="CAUSAL_LM"))


def peft_encoder_lora(base: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        base, LoraConfig(r=RANK, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")
    )


def peft_prompt(base: Any) -> Any:
    from peft import PromptTuningConfig, get_peft_model

    return get_peft_model(base, PromptTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM"))


def peft_sparse(base: Any) -> Any:
    from peft import ShiraConfig, get_peft_model

    return get_peft_model(base, ShiraConfig(r=RANK, target_modules=MAPS, task_type="CAUSAL_LM"))


def plain(base: Any) -> Any:
    """The model itself; which of its tensors learn is told by those that learn on our side."""
    return base


def plain_adapters(base: Any) -> Any:
    """Bottlenecks written as modules, for which peft has no method."""
    from torch import nn
    from torch.nn.functional import gelu

    class Adapted(nn.Linear):
        def forward(self, input: Any) -> Any:
            y = super().forward(input)
            return y + self.up(gelu(self.down(y.float()))).to(y.dtype)

    base.requires_grad_(False)
    for module in list(base.modules()):
        for name in ("o_proj", "down_proj"):
            child = getattr(module, name, None)
            if child is not None:
                child.__class__ = Adapted
                child.down, child.up = nn.Linear(child.out_features, 64), nn.Linear(64, child.out_features)
    return base


LORA = {"rank": RANK, "alpha": 16.0}
CASES = {
    "lora-completion": Case("lora", peft_lora, LORA),
    "lora-text": Case("lora", peft_lora, LORA, data=TEXT),
    "encoder-lora": Case("lora", peft_encoder_lora, LORA, ENCODER, IMDB, "classification", "role in (q, v)"),
    "encoder-full": Case("full", plain, {}, ENCODER, IMDB, "classification"),
    "encoder-full-masters": Case("full", plain, {}, ENCODER, IMDB, "classification", masters=True),
    "adapter": Case("houlsby-adapter", plain_adapters, {"bottleneck": 64}),
    "prompt": Case("prompt-tuning", peft_prompt, {"tokens": 20}),
    "sparse-mask": Case("sparse-mask", peft_sparse, {"count": 2_442_240}, same_start=False),
}


@dataclass(frozen=True)
class Measured:
    """What one side measured; ``tokens`` are those of the timed steps, padding not counted."""

    tokens: int
    seconds: float
    peak_bytes: int
    losses: list[float]

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def make_plan(name: str, precision: str) -> Plan:
    """The plan as the studio makes it, every choice that is not part of the comparison left to it."""
    from studio.service.plan_run import plan_run

    case = CASES[name]
    placement = {"use": case.use, "params": case.params, "where": case.where}
    train = {
        "effective_batch": BATCH, "max_steps": 100, "learning_rate": RATE, "schedule": "constant", "warmup": 0,
        "precision": precision, "device": "cpu",
    }  # fmt: skip
    outcome = plan_run({
        "model": {"source": case.model}, "data": {"split": {"eval": 8}, **case.data}, "task": case.task,
        "method": {"placements": [placement]}, "train": train,
    })  # fmt: skip
    assert outcome.plan is not None, outcome.problems
    return outcome.plan


def batches_of(lengths: list[int], steps: int) -> list[list[int]]:
    """So many batches of rows of like length, in a random order: what grouping by length gives."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(lengths))[: steps * BATCH]
    grouped = sorted(rows.tolist(), key=lambda i: lengths[i])
    order = rng.permutation(steps)
    return [grouped[i * BATCH : (i + 1) * BATCH] for i in order]


def measure(step: Callable[[list[int]], tuple[float, int]], batches: list[list[int]]) -> Measured:
    """Run the steps, each of which gives its loss and its tokens."""
    losses, tokens, started = [], 0, 0.0
    for number, batch in enumerate(batches):
        if number == WARM_UP:
            started = time.perf_counter()
        loss, count = step(batch)
        losses.append(loss)
        tokens += count if number >= WARM_UP else 0
    seconds = time.perf_counter() - started
    return Measured(tokens, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, losses)


def train_ours(plan: Plan, folder: Path, steps: int, _: str) -> Measured:
    """The engine's own step; what the factors started from is left for the other side."""
    from safetensors.torch import save_file

    from studio.engine.loop import step_over
    from studio.engine.session import open_session
    from studio.engine.telemetry import Telemetry
    from studio.rundir.log import EventLog

    session = open_session(plan, folder / "checkpoints", Telemetry(EventLog(folder / "events.jsonl"), plan.device))
    save_file({name: tensor.detach().clone() for name, tensor in session.attached.tensors.items()}, folder / "start")
    session.model.train()
    rows = session.train_rows

    def step(batch: list[int]) -> tuple[float, int]:
        values = step_over(session, [rows[i] for i in batch])
        session.progress.step += 1
        return values["loss"], int(values["tokens"])

    return measure(step, batches_of([len(row.ids) for row in rows], steps))


def begin_alike(model: Any, base: Any, start: Path, *, copied: bool) -> None:
    """Give the tensors that learn the values from which ours began; plain modules learn what learns on our side."""
    import torch
    from safetensors.torch import load_file

    ours = {key.split(".", 1)[1]: tensor for key, tensor in load_file(start).items()}
    prefix = f"{base.base_model_prefix}."
    names = {
        "base_model.model.": "", ".modules_to_save": "", ".default": "", ".lora_A.weight": ".A", ".lora_B.weight": ".B",
        "prompt_encoder.embedding.weight": ".tokens",
    }  # fmt: skip
    learning, tensors = 0, 0
    with torch.no_grad():
        for path, tensor in model.named_parameters():
            name = path
            for theirs, own in names.items():
                name = name.replace(theirs, own)
            name = name.removeprefix(prefix)
            if model is base:
                tensor.requires_grad_(name in ours)
            if tensor.requires_grad and copied:
                tensor.copy_(ours[name])
                tensors += 1
            learning += tensor.numel() * tensor.requires_grad
    expected = sum(tensor.numel() for tensor in ours.values())
    if learning != expected or tensors != copied * len(ours):
        raise SystemExit(f"{learning:,} parameters learn there and {expected:,} here")


def train_theirs(plan: Plan, folder: Path, steps: int, name: str) -> Measured:
    """transformers' Trainer over the case's model, its base in the plan's precision, without a cache."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.utils import logging

    from studio.datasets.encode import Encoder
    from studio.datasets.split import split_rows
    from studio.datasets.store import StoredDataset
    from studio.engine.build import DTYPES, model_class
    from studio.engine.row_store import encode_rows

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    dataset = StoredDataset(Path(plan.data_path))
    encoder = Encoder(
        Path(plan.model_path), task=plan.task, format=plan.format, mapping=plan.columns, labels=plan.labels,
        max_length=plan.max_length, date=plan.date,
    )  # fmt: skip
    chosen, _ = split_rows(len(dataset), plan.eval_rows, plan.split_seed, plan.max_rows)
    rows = encode_rows(dataset, encoder, chosen)[0]
    classes = plan.task == "classification"
    options = {"num_labels": len(plan.labels)} if classes else {}
    masters = CASES[name].masters
    dtype = torch.float32 if masters else DTYPES[plan.precision]
    base = model_class(classification=classes).from_pretrained(plan.model_path, dtype=dtype, **options)
    base.config.use_cache = False
    base.config.pad_token_id = encoder.pad_id
    model = CASES[name].theirs(base)
    begin_alike(model, base, folder / "start", copied=CASES[name].same_start)

    def pad(batch: list[int]) -> dict[str, torch.Tensor]:
        longest = max(len(rows[i].ids) for i in batch)
        ids = np.full((len(batch), longest), encoder.pad_id)
        labels, mask = np.full_like(ids, -100), np.zeros_like(ids)
        for place, i in enumerate(batch):
            row = rows[i]
            ids[place, : len(row.ids)], mask[place, : len(row.ids)] = row.ids, 1
            labels[place, : len(row.ids)] = np.where(row.trained, row.ids, -100)
        if classes:
            labels = np.array([rows[i].label for i in batch])
        return {key: torch.from_numpy(array) for key, array in
                (("input_ids", ids), ("labels", labels), ("attention_mask", mask))}  # fmt: skip

    batches = batches_of([len(row.ids) for row in rows], steps)
    losses: list[float] = []
    times: list[float] = []

    class Recording(Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            losses.append(loss.item())
            return loss

    class Clock(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter())

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=BATCH, max_steps=steps, learning_rate=RATE,
        lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=1.0, use_cpu=True, report_to=[],
        save_strategy="no", logging_strategy="no", disable_tqdm=True, remove_unused_columns=False,
        train_sampling_strategy="sequential", optim="adamw_torch_fused", bf16=masters and plan.precision == "bf16",
    )  # fmt: skip
    flat = [i for batch in batches for i in batch]
    Recording(model=model, args=arguments, train_dataset=flat, data_collator=pad, callbacks=[Clock()]).train()
    tokens = sum(len(rows[i].ids) for batch in batches[WARM_UP:] for i in batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(tokens, times[-1] - times[2 * WARM_UP], peak, losses)


SIDES = {"ours": train_ours, "theirs": train_theirs}


def run_side(side: str, case: str, plan: Plan, folder: Path, steps: int) -> Measured:
    """Measure a side in a process of its own."""
    (folder / "plan.json").write_text(plan.model_dump_json())
    command = [sys.executable, "-m", "tests.bench.train_throughput", "--side", side, case, str(folder)]
    command += ["--steps", str(steps)]
    settings = worker_settings() if side == "ours" else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **settings})
    if done.returncode:
        raise SystemExit(done.stderr)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def compare(name: str, precision: str, steps: int, rounds: int) -> None:
    """Measure both sides in turn and print the table of a task."""
    plan = make_plan(name, precision)
    found: dict[str, list[Measured]] = {side: [] for side in SIDES}
    print(
        f"\n{name}, {precision}: {steps} steps of {BATCH} rows, packing {plan.packing}, micro-batch {plan.micro_batch}"
    )
    with tempfile.TemporaryDirectory() as place:
        for _ in range(rounds):
            for side in SIDES:
                measured = run_side(side, name, plan, Path(place), steps)
                found[side].append(measured)
                print(f"  {side:16} {measured.rate:8.1f} tokens/s {format_bytes(measured.peak_bytes):>10}", flush=True)
    ours, theirs = (max(measured, key=lambda m: m.rate) for measured in found.values())
    apart = max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True))
    print(f"  {ours.rate / theirs.rate:.2f} x tokens/s, {ours.peak_bytes / theirs.peak_bytes:.2f} x peak, "
          f"losses at most {apart:.1e} apart")  # fmt: skip
    for side, measured in (("ours", ours), ("theirs", theirs)):
        print(f"  {side:6} {' '.join(f'{loss:.4f}' for loss in measured.losses)}")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    options.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--side", nargs=3, metavar=("SIDE", "CASE", "FOLDER"))
    chosen = options.parse_args()
    if chosen.side:
        side, case, folder = chosen.side
        plan = Plan.model_validate_json((Path(folder) / "plan.json").read_text())
        print(json.dumps(asdict(SIDES[side](plan, Path(folder), chosen.steps, case))))
        return
    for name in chosen.cases:
        compare(name, chosen.precision, chosen.steps, chosen.rounds)


if __name__ == "__main__":
    main()
