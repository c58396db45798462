"""Where the time of one training step goes, by phase and class of operator.

Run it by hand on an idle machine, with the starter pack in the libraries:
``python -m tests.bench.step_profile [--precision fp32] [--case lora-completion]``.
"""

import argparse
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from studio.core.plan import Plan
from studio.engine.loop import step_over
from studio.engine.session import Session, open_session
from studio.engine.telemetry import Telemetry
from studio.rundir.log import EventLog
from tests.bench.train_throughput import CASES, batches_of, make_plan

FLASH = "_scaled_dot_product_flash_attention_for_cpu"
CLASSES = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "addmm_", "mkldnn_linear"),
    "attention": (FLASH, f"{FLASH}_backward"),
    "copies and casts": ("copy_", "_to_copy", "clone", "cat", "contiguous", "index", "index_put_", "embedding"),
    "optimizer": ("_fused_adamw_", "_foreach_norm", "_foreach_mul_", "linalg_vector_norm"),
}  # fmt: skip
STEPS, MOST = 3, 30


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    options.add_argument("--case", default="lora-completion", choices=list(CASES))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show(make_plan(chosen.case, chosen.precision), Path(place))


def show(plan: Plan, folder: Path) -> None:
    """Profile some steps and print the table of an average one."""
    session = open_session(plan, folder / "checkpoints", Telemetry(EventLog(folder / "events.jsonl"), plan.device))
    session.model.train()
    batches = batches_of([len(row.ids) for row in session.train_rows], STEPS + 1)
    step_over(session, [session.train_rows[i] for i in batches[0]])
    tokens = sum(len(session.train_rows[i].ids) for batch in batches[1:] for i in batch) / STEPS
    phases: list[tuple[int, int, str]] = []
    with _timed(session, phases), profile(activities=[ProfilerActivity.CPU]) as seen:
        for batch in batches[1:]:
            step_over(session, [session.train_rows[i] for i in batch])
    events = seen.profiler.kineto_results.events()
    times, total = _by_class(events, phases)
    seconds = total / 1e9 / STEPS
    print(f"{plan.precision}, {tokens:.0f} tokens a step, {seconds:.2f} s, {tokens / seconds:.0f} tokens/s")
    for (phase, name), spent in times.most_common(MOST):
        print(f"  {phase:16} {name:36} {spent / 1e6 / STEPS:9.1f} ms {spent / total:6.1%}")


@contextmanager
def _timed(session: Session, phases: list[tuple[int, int, str]]) -> Iterator[None]:
    """Note when each phase begins and ends, by the profiler's clock."""
    during = session.watch.during

    @contextmanager
    def timed(phase: str, *args: Any) -> Iterator[None]:
        started = time.time_ns()
        with during(phase, *args):
            yield
        phases.append((started, time.time_ns(), phase))

    session.watch.during = timed  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del session.watch.during


def _by_class(events: Any, phases: list[tuple[int, int, str]]) -> tuple[Counter[tuple[str, str]], int]:
    """Nanoseconds of operators alone, without those they call, by phase and class; and of all phases."""
    phases.sort()
    starts = [start for start, _, _ in phases]
    spans = sorted(
        ((e.start_ns(), e.start_ns() + e.duration_ns(), e.name()) for e in events if e.name().startswith("aten::")),
        key=lambda span: (span[0], -span[1]),
    )
    times: Counter[tuple[str, str]] = Counter()
    open_: list[list[Any]] = []

    def close(until: int) -> None:
        while open_ and open_[-1][1] <= until:
            start, end, name, inner = open_.pop()
            place = bisect_right(starts, start) - 1
            if place >= 0 and start < phases[place][1]:
                times[phases[place][2], _class_of(name.removeprefix("aten::"))] += end - start - inner
            if open_:
                open_[-1][3] += end - start

    for start, end, name in spans:
        close(start)
        open_.append([start, end, name, 0])
    close(2**63)
    total = 0
    for start, end, phase in phases:
        total += end - start
        times[phase, "between operators"] += end - start
    for (phase, name), spent in list(times.items()):
        if name != "between operators":
            times[phase, "between operators"] -= spent
    return times, total


def _class_of(name: str) -> str:
    known = next((kind for kind, names in CLASSES.items() if name in names), None)
    return known or f"elementwise: {name}"


if __name__ == "__main__":
    main()
