"""``python tests/bench/equal_budget.py``: many methods on the starter encoder, each with exactly the same parameters.

Every arm trains the same rows in the same order for the same steps; only the method and its own learning rate
differ. Prints quality, time and memory of each, and writes them to a JSON file on request.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from studio.core.errors import StudioError
from studio.service import runs
from studio.service.start_run import start_run

METHODS = (
    "lora", "dora", "houlsby-adapter", "parallel-adapter", "compacter", "prefix-tuning", "pfeiffer-adapter", "reft",
    "sparse-mask", "loha",
)  # fmt: skip
ENDED = {"completed", "failed", "crashed", "stopped"}


def spec_of(method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One arm: the method at its usual places, sized to the budget and filled to the last parameter."""
    return {
        "name": f"equal budget: {method}",
        "task": "classification",
        "model": {"source": "library:minilm-l6"},
        "data": {
            "source": "library:medical-subjects",
            "format": "classification",
            "columns": {"text": "question", "label": "subject"},
            "split": {"eval": 300, "seed": 0},
            "max_length": 96,
        },
        "method": {"placements": [{"use": method}], "budget": arguments.budget, "exact": True},
        "train": {"max_steps": arguments.steps, "epochs": 100, "effective_batch": 16, "eval_every": arguments.steps,
                  "save_every": arguments.steps, "seed": arguments.seed},
    }  # fmt: skip


def run(method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one arm to its end; its figures, or why there are none."""
    try:
        run_id = start_run(spec_of(method, arguments))
    except StudioError as error:
        return {"method": method, "error": str(error)}
    while (shown := runs.show_run(run_id))["state"] not in ENDED:
        time.sleep(0.5)
    if shown["state"] != "completed":
        return {"method": method, "error": str(shown["error"])}
    plan, measured, metrics = shown["plan"], shown["measured"], shown["metrics"]
    return {
        "method": method,
        "parameters": sum(placement["trainable"] for placement in plan["placements"]),
        "of_the_filler": sum(p["trainable"] for p in plan["placements"][1:]),
        "learning_rate": plan["learning_rate"],
        "accuracy": metrics["eval_accuracy"]["last"],
        "f1": metrics["eval_f1"]["last"],
        "seconds_per_step": measured["seconds_per_step"],
        "peak_bytes": measured["peak_bytes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print(f"{'method':20} {'parameters':>11} {'filled':>7} {'accuracy':>8} {'f1':>6} {'s/step':>7} {'peak MB':>8}")
    for method in arguments.methods:
        row = run(method, arguments)
        rows.append(row)
        if "error" in row:
            print(f"{method:20} {row['error']}")
            continue
        print(f"{method:20} {row['parameters']:11,} {row['of_the_filler']:7,} {row['accuracy']:8.3f} {row['f1']:6.3f} "
              f"{row['seconds_per_step']:7.3f} {row['peak_bytes'] / 1e6:8.0f}", flush=True)  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
