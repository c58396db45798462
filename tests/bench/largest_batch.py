"""Whether the largest micro-batch that the simulation allows really fits, and the next one does not.

Run it by hand: ``python -m tests.bench.largest_batch [--gib 6]``; at 6 GiB it takes a quarter of an hour. The limit is
held against the peak of all allocations of two real steps and an evaluation, by torch's profiler.
"""

import argparse
from collections.abc import Iterator

from studio.core.units import GIB, MIB
from studio.simulate.emulator import Flavour
from studio.simulate.profile import simulate
from studio.simulate.stand_in import Shape
from tests.helpers.simulated import Case, measure_peak, planned

SMALL = {  # narrow models hold as much for fewer operations
    "hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 2, "num_key_value_heads": 2,
}  # fmt: skip
GPT2 = {"n_embd": 64, "n_head": 2}
WIDE = {**SMALL, "vocab_size": 16_384}
LENGTH = {"length": 512, "trained": 256}


def cases() -> Iterator[Case]:
    """Ten configurations of different families, methods, precisions and ways to save memory."""
    yield Case("llama", changes=SMALL, **LENGTH)
    yield Case("llama", precision="bf16", checkpointing=True, changes=WIDE, **LENGTH)
    yield Case("llama", "full", changes=SMALL, **LENGTH)
    yield Case("llama", "sparse-mask", params={"count": 5000}, changes=SMALL, **LENGTH)
    yield Case("qwen3", "houlsby-adapter", checkpointing=True, changes=WIDE, **LENGTH)
    yield Case("gpt2", changes=GPT2, **LENGTH)
    yield Case("gemma", "ia3", changes=WIDE, **LENGTH)
    yield Case("bert", changes=SMALL, **LENGTH)
    yield Case("bert", "full", checkpointing=True, changes=SMALL, **LENGTH)
    yield Case("roberta", "prompt-tuning", changes=SMALL, **LENGTH | {"length": 480})


def largest(case: Case, limit: int) -> tuple[int, int, int]:
    """The most rows that shall fit, and the peaks that they and one more really have."""
    with planned(case) as plan:
        profile = simulate(plan, length=case.length, trained=case.trained, flavour=Flavour())
        rows = 2
        while sum(profile.parts(rows + 1, rows + 1).values()) <= limit:
            rows += 1
        peaks = [
            measure_peak(plan, Shape(count, case.length, case.trained, uneven=True), held_out=count)
            for count in (rows, rows + 1)
        ]
    return rows, peaks[0], peaks[1]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--gib", type=float, default=6.0)
    limit = int(options.parse_args().gib * GIB)
    print(f"{'configuration':42} {'rows':>5} {'peak':>10} {'of one more':>12}  limit {limit / MIB:,.1f} MiB")
    for case in cases():
        rows, peak, next_peak = largest(case, limit)
        held = "holds" if peak <= limit < next_peak else "FAILS"
        print(f"{case!s:42} {rows:5} {peak / MIB:10,.1f} {next_peak / MIB:12,.1f}  {held}", flush=True)


if __name__ == "__main__":
    main()
