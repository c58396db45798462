"""The run that a first start offers: a real model on real data, small enough for any machine."""

from typing import Any

QUICKSTART_STEPS = 40


def quickstart_spec(steps: int = QUICKSTART_STEPS) -> dict[str, Any]:
    """A LoRA run of the starter model that learns which medical subject an exam question belongs to."""
    return {
        "version": 1,
        "name": "First run",
        "task": "sft",
        "model": {"source": "library:smollm2-135m-instruct"},
        "data": {
            "source": "library:medical-subjects",
            "format": "prompt-completion",
            "columns": {"prompt": "Question: {question}\nSubject:", "completion": "{subject}"},
            "split": {"eval": 100, "seed": 0},
            "max_length": 96,
        },
        "method": {"placements": [{"use": "lora", "params": {"rank": 8, "alpha": 16}}]},
        "train": {"max_steps": steps, "effective_batch": 8, "learning_rate": 1e-3},
    }
