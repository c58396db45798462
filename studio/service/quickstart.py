"""The run that a first start offers: a real model on real data, small enough for any machine."""

from typing import Any

QUICKSTART_STEPS = 30


def quickstart_spec(steps: int = QUICKSTART_STEPS) -> dict[str, Any]:
    """A LoRA run of the starter model on short yes/no questions."""
    return {
        "name": "First run",
        "task": "sft",
        "model": {"source": "library:smollm2-135m-instruct"},
        "data": {"source": "library:boolq-short", "split": {"eval": 64, "seed": 0}, "max_length": 160},
        "method": {"placements": [{"use": "lora", "params": {"rank": 8, "alpha": 16}}]},
        "train": {"max_steps": steps, "effective_batch": 8, "learning_rate": 1e-3, "eval_every": max(1, steps // 3)},
    }
