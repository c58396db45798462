"""How far forecasts of memory are from what the CPU's allocator really hands out.

Run it by hand: ``python -m tests.bench.estimate_accuracy [--write] [WORD …]``. For every configuration the engine
trains two steps and evaluates once under torch.profiler; the truth is the highest sum of all allocations. The same is
simulated on meta tensors and computed by the formula, both without what a process and its heap hold besides.
``--write`` puts the table into ``resources/tables/estimate_accuracy.json``; words choose configurations.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch

from studio.core.facts import LengthFacts
from studio.core.paths import resource
from studio.core.plan import Plan
from studio.core.spec import Quantization
from studio.devices import list_devices
from studio.engine.session import placements_of
from studio.estimate.activations import measure_activations
from studio.estimate.batches import largest_batch
from studio.estimate.families import family_of
from studio.estimate.footprint import measure_footprint
from studio.estimate.inputs import EstimateInputs
from studio.estimate.memory import highest_phase, live_parts
from studio.extensions.declaring import declare_at, edited_sites
from studio.models.inspect import inspect_model
from studio.models.sites import find_sites, is_quantizable
from studio.simulate.emulator import Flavour
from studio.simulate.trace import trace
from tests.helpers.simulated import CONFIGS, Case, measure_peak, planned, single_threaded

METHODS = (
    "full",
    "bitfit",
    "prompt-tuning",
    "prefix-tuning",
    "houlsby-adapter",
    "sparse-mask",
    "dora",
    "ia3",
    "lst",
    "hira",
)
PARAMS = {"sparse-mask": {"count": 5000}}
TABLE = "estimate_accuracy.json"


def cases() -> Iterator[Case]:
    """Every family in both precisions and ways of training; every kind of method on a decoder and an encoder."""
    for i, family in enumerate(CONFIGS):
        yield Case(family, precision=("fp32", "bf16")[i % 2], checkpointing=i % 4 > 1)
        yield Case(family, precision=("bf16", "fp32")[i % 2], checkpointing=i % 4 < 2)
    for method in METHODS:
        params = PARAMS.get(method, {})
        if method != "bitfit":
            yield Case("llama", method, "bf16", params=params)
            yield Case("llama", method, "fp32", checkpointing=True, params=params)
        yield Case("bert", method, "fp32", params=params)
    for family in ("llama", "bert"):
        yield Case(family, "full", "bf16", checkpointing=True)
    yield Case("bert", "full", "fp32", checkpointing=True)
    for family in ("llama", "qwen2", "gemma"):
        for precision in ("fp32", "bf16"):
            yield Case(family, precision=precision, packed=True)
    kinds: tuple[Quantization, ...] = ("int8", "nf4")
    for i, family in enumerate(("llama", "qwen2", "gemma", "opt", "bert", "modernbert")):
        for k, kind in enumerate(kinds):
            yield Case(family, precision=("fp32", "bf16")[(i + k) % 2], quantization=kind)
            yield Case(family, precision=("bf16", "fp32")[(i + k) % 2], quantization=kind, checkpointing=True)
    for method in ("dora", "prompt-tuning", "houlsby-adapter", "sparse-mask"):
        yield Case("llama", method, quantization="nf4", params=PARAMS.get(method, {}))
    yield Case("llama", quantization="nf4", packed=True)
    wide = {"vocab_size": 16_384}
    for precision in ("fp32", "bf16"):
        yield Case("llama", precision=precision, checkpointing=True, changes=wide)
        for family in ("llama", "gemma2"):  # logits in parts, and all at once, where evaluation needs most
            yield Case(family, precision=precision, checkpointing=True, changes=wide, length=192, trained=144)


def formula_bytes(plan: Plan, case: Case) -> int:
    """What the formula says lives at the peak, without process and heap."""
    facts = inspect_model(Path(plan.model_path))
    placed = placements_of(plan, find_sites(Path(plan.model_path)))
    found = [(item.method, declare_at(item.method, item.params, item.sites)) for item in placed]
    declared = tuple(pair for _, pairs in found for pair in pairs)
    family = family_of(facts)
    lengths = LengthFacts(
        sampled=case.rows, mean=case.length, p50=case.length, p95=case.length, longest=case.length,
        trained=case.trained, truncated=0, max_length=case.length,
    )  # fmt: skip
    inputs = EstimateInputs(
        model=facts, device=list_devices()[0], task=plan.task,
        precision=plan.precision, micro_batch=case.rows, accumulation=1, steps=1, train_rows=case.rows,
        eval_rows=case.rows, eval_every=1, max_length=case.length, lengths=lengths, checkpointing=plan.checkpointing,
        packing=plan.packing, declared=declared, masked=not case.packed,
        extra_tokens=sum(item.method.extra_tokens(item.params) for item in placed),
        backbone_grad=any(item.method.traits.backbone_grad for item in placed),
        edits=edited_sites(found), quantization=plan.quantization,
        packable=tuple(filter(is_quantizable, find_sites(Path(plan.model_path)))),
    )  # fmt: skip
    footprint = measure_footprint(declared, family, inputs.edits)
    kept = measure_activations(inputs, largest_batch(inputs), family, footprint)
    return live_parts(inputs, footprint, highest_phase(inputs, footprint, kept)).total


def measure(case: Case) -> dict[str, float | int | str]:
    """One line of the table: bytes and relative errors."""
    with planned(case) as plan:
        simulated = trace(plan, case.shape, Flavour(), held_out=case.rows).peak
        truth = measure_peak(plan, case.shape, held_out=case.rows)
        formula = formula_bytes(plan, case)
    return {
        "case": str(case), "measured": truth, "simulated": simulated, "formula": formula,
        "simulated_error": simulated / truth - 1, "formula_error": formula / truth - 1,
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("words", nargs="*")
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    single_threaded()
    lines = []
    for case in cases():
        if not all(word in str(case).split() for word in chosen.words):
            continue
        line = measure(case)
        lines.append(line)
        print(
            f"{line['case']:45} {int(line['measured']) / 1024:9.1f} KiB"
            f"  simulated {line['simulated_error']:+8.4%}  formula {line['formula_error']:+7.2%}",
            flush=True,
        )
    for basis in ("simulated", "formula"):
        errors = [abs(float(line[f"{basis}_error"])) for line in lines]
        print(
            f"{basis}: {len(errors)} configurations, median {statistics.median(errors):.4%}, largest {max(errors):.4%}"
        )
    if chosen.write:
        table = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "configurations": lines}
        (resource("tables") / TABLE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
