"""Run folders written as a worker writes them, without training."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core import events as ev
from studio.core.paths import home
from studio.rundir.layout import RunFolder, create_run_folder, write_json
from studio.rundir.log import EventLog

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "boolq-lora",
    "task": "sft",
    "model": {"source": "library:smollm2"},
    "data": {"source": "library:boolq", "max_length": 512},
    "method": {"placements": [{"use": "lora", "where": None, "params": {"rank": 8}}], "budget": None},
    "train": {"learning_rate": 2e-4, "max_steps": 4},
}
PLAN: dict[str, Any] = {
    "model_fingerprint": "f1",
    "device": "cpu",
    "device_name": "AMD EPYC",
    "precision": "bf16",
    "trainable": 460_800,
    "steps": 4,
    "learning_rate": 2e-4,
    "placements": [{"use": "lora", "params": {"rank": 8}, "sites": ["layers.0.self_attn.q_proj"]}],
    "autos": [],
}
ESTIMATE: dict[str, Any] = {
    "fits": True,
    "uncorrected": {"peak_bytes": 8_000_000, "seconds_per_step": 0.4, "watts": None},
}


def story(*, end: str = "completed", offset: float = 0.0) -> list[ev.Event]:
    """What a short run tells: four steps, two evals, a checkpoint, an adapter."""
    return [
        ev.StateChanged(100.0, "starting"),
        ev.PhaseChanged(100.1, "loading the model"),
        ev.StateChanged(101.0, "running"),
        ev.Evaluated(102.0, 0, {"loss": 5.0 + offset, "accuracy": 0.5}, 1.0),
        ev.Metrics(104.0, [1, 2], {"loss": [4.0 + offset, 3.0], "tokens": [100, 100], "seconds": [0.5, 0.5]}),
        ev.CheckpointSaved(104.5, 2, "checkpoints/2", 1000, best=True),
        ev.Metrics(106.0, [3, 4], {"loss": [2.0, 1.0 + offset], "tokens": [100, 100], "seconds": [0.5, 0.5]}),
        ev.Evaluated(107.0, 4, {"loss": 2.0 + offset, "accuracy": 0.8}, 1.0),
        ev.Sampled(107.1, 4, [{"prompt": "p", "expected": "yes", "output": "yes"}]),
        ev.ArtifactWritten(107.5, "adapter", "artifacts/adapter", 2000),
        ev.Measured(108.0, 10_000_000, 7.0, 0.5, 200.0, 1.5),
        ev.StateChanged(108.5, end),
    ]


def make_run(
    run_id: str = "20261124-063100-boolq-lora-4f2a",
    events: Sequence[ev.Event] | None = None,
    *,
    launched: bool = True,
    **spec: Any,
) -> RunFolder:
    """A run folder in the current home; keywords replace spec entries."""
    runs = home().runs
    runs.mkdir(parents=True, exist_ok=True)
    folder = create_run_folder(
        runs,
        run_id,
        {
            "spec.json": {**SPEC, **spec},
            "plan.json": PLAN,
            "estimate.json": ESTIMATE,
            "labels.json": {"created": 1000.0, "parent": None},
        },
    )
    if launched:
        write_json(folder.worker, {"pid": 1, "created": time.time(), "interpreter": "python"})
    append(folder.path, story() if events is None else events)
    return folder


def append(folder: Path, events: Sequence[ev.Event]) -> None:
    """Write events as the worker does."""
    log = EventLog(folder / "events.jsonl")
    try:
        for event in events:
            log.append(event)
    finally:
        log.close()
