"""How far forecasts of memory are from what the CPU's allocator really hands out.

Run it by hand: ``python -m tests.bench.estimate_accuracy [--write]``. For every configuration the engine trains two
steps and evaluates once under torch.profiler; the truth is the highest sum of all allocations. The same is
simulated on meta tensors.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from studio.core.plan import Plan, PlannedPlacement
from studio.engine.evaluate import evaluate
from studio.engine.loop import step_over
from studio.extensions.declaring import count_tensors, declare_at, planned_sites
from studio.extensions.methods import load_here
from studio.extensions.registry import discover
from studio.models.sites import find_sites, sites_for_task
from studio.models.where import select
from studio.simulate.emulator import Flavour
from studio.simulate.stand_in import Shape, model_class, open_session
from studio.simulate.trace import trace
from tests.bench.formula_accuracy import CONFIGS, ENCODERS

METHODS: dict[str, tuple[dict[str, Any], str | None]] = {
    "lora": ({"rank": 8}, "kind == linear and layer >= 0"),
    "full": ({}, "kind in (linear, norm) and layer >= 0"),
    "bitfit": ({}, None), "prompt-tuning": ({"tokens": 8}, None), "prefix-tuning": ({}, None), "houlsby-adapter": ({}, None),
    "sparse-mask": ({"count": 5000}, None), "dora": ({}, None), "ia3": ({}, None), "lst": ({}, None),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One configuration."""

    family: str
    method: str = "lora"
    precision: str = "fp32"
    checkpointing: bool = False
    packed: bool = False
    rows: int = 4
    length: int = 96
    trained: int = 48
    layers: int = 4

    def __str__(self) -> str:
        words = [self.family, self.method, self.precision, "checkpointing" if self.checkpointing else "",
                 "packed" if self.packed else "padded"]  # fmt: skip
        return " ".join(word for word in words if word)


@contextmanager
def planned(case: Case) -> Iterator[Plan]:
    """The plan of a case over a random model in a folder of its own."""
    config = CONFIG_MAPPING[case.family](**CONFIGS[case.family])
    classes = case.family in ENCODERS
    with tempfile.TemporaryDirectory() as folder:
        model_class(classification=classes).from_config(config).save_pretrained(folder)
        task = "classification" if classes else "sft"
        params, where = METHODS[case.method]
        method = load_here(discover().get(case.method, "method"))
        parsed, problems = method.parse(params, "params")
        assert parsed is not None, problems
        offered = sites_for_task(find_sites(Path(folder)), task)
        sites = [site for site in select(offered, where or method.traits.where) if method.traits.takes(site)]
        declared = declare_at(method, parsed, sites)
        placement = PlannedPlacement(
            use=case.method, version="1", where=where or "", params=parsed.model_dump(mode="json"),
            sites=planned_sites(method, sites, declared), trainable=sum(count_tensors([declared]).values()),
        )  # fmt: skip
        yield Plan(
            task=task, model_source="", model_path=folder, model_fingerprint="", data_source="", data_path="",
            data_fingerprint="", format="", columns={}, labels=("a", "b") if classes else (), train_rows=1, eval_rows=0,
            split_seed=0, max_rows=None, max_length=case.length, placements=(placement,), train_head=classes,
            trainable=0, total=0, device="cpu", device_name="CPU", precision=case.precision,  # type: ignore[arg-type]
            micro_batch=case.rows, accumulation=1, effective_batch=case.rows, steps=2, tokens_per_step=1,
            learning_rate=1e-3, weight_decay=0.0, schedule="constant", warmup_steps=0, clip_norm=1.0,
            checkpointing=case.checkpointing, packing=case.packed, eval_every=1, save_every=1, keep_checkpoints=1,
            early_stopping=None, seed=0, autos=(),
        )  # fmt: skip


def shape_of(case: Case) -> Shape:
    return Shape(case.rows, case.length, case.trained, uneven=not case.packed)


def measure(plan: Plan, shape: Shape, held_out: int) -> int:
    """Bytes at the highest moment of two real steps and an evaluation, weights included."""
    session = open_session(plan, shape, device="cpu", held_out=held_out)
    session.model.train()
    before = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for t in (*session.model.parameters(), *session.model.buffers(), *session.attached.tensors.values(),
                  *session.attached.buffers.values())
    }  # fmt: skip
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        for _ in range(2):
            step_over(session, session.train_rows)
            session.progress.step += 1
        if held_out:
            evaluate(session.model, session.eval_rows, session.plan, pad_id=0)
    now = peak = sum(before.values())
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def cases() -> Iterator[Case]:
    """Every family once in each precision, and every method on a decoder and an encoder."""
    for i, family in enumerate(CONFIGS):
        yield Case(family, precision=("fp32", "bf16")[i % 2], checkpointing=i % 4 > 1)
    for method in METHODS:
        yield Case("llama", method, "bf16")
        yield Case("llama", method, "fp32", checkpointing=True)
        yield Case("bert", method, "fp32")
    for family in ("llama", "qwen2", "gemma"):
        for precision in ("fp32", "bf16"):
            yield Case(family, "lora", precision, packed=True)


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("only", nargs="*")
    chosen = words.parse_args().only
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    errors = []
    for case in cases():
        if chosen and not all(word in str(case).split() for word in chosen):
            continue
        try:
            with planned(case) as plan:
                truth = measure(plan, shape_of(case), case.rows)
                foreseen = trace(plan, shape_of(case), Flavour(), held_out=case.rows).peak
        except Exception as error:
            print(f"{case!s:48} {type(error).__name__}: {str(error)[:150]}")
            continue
        errors.append(abs(foreseen / truth - 1))
        print(f"{case!s:48} {truth / 1024:10.1f} {foreseen / 1024:10.1f} {foreseen / truth - 1:+9.4%}", flush=True)
    print(f"{len(errors)} cases: median {statistics.median(errors):.4%}, largest {max(errors):.4%}")


if __name__ == "__main__":
    main()
