"""Writes run folders as a worker would, so that screens can be fed without training."""

import json
import math
import random
import time
from pathlib import Path

from studio.core.events import (
    ArtifactWritten,
    CheckpointSaved,
    DeviceRead,
    Evaluated,
    Event,
    Measured,
    Metrics,
    Noticed,
    PhaseChanged,
    Sampled,
    StateChanged,
    encode,
)
from studio.rundir.layout import RunFolder
from studio.rundir.lock import RunLock

GIB = 1024**3
SPEC = {
    "version": 1,
    "name": "boolq-lora",
    "task": "sft",
    "model": {"source": "library:smollm2-135m-instruct"},
    "data": {"source": "library:boolq"},
    "method": {"placements": [{"use": "lora", "where": "role in (q, v)", "params": {"rank": 8}}]},
}
PLAN = {
    "version": 1,
    "task": "sft",
    "model_source": "library:smollm2-135m-instruct",
    "model_path": "/models/smollm2",
    "model_fingerprint": "f",
    "data_source": "library:boolq",
    "data_path": "/datasets/boolq",
    "data_fingerprint": "d",
    "format": "prompt-completion",
    "columns": {"prompt": "{passage}", "completion": "{label}"},
    "train_rows": 15742,
    "eval_rows": 200,
    "split_seed": 0,
    "max_rows": None,
    "max_length": 512,
    "placements": [
        {
            "use": "lora",
            "version": "1.0",
            "where": "role in (q, v)",
            "params": {"rank": 8, "alpha": 16},
            "sites": [f"layers.{i}.self_attn.{p}_proj" for i in range(30) for p in "qv"],
            "trainable": 460800,
        }
    ],
    "train_head": False,
    "trainable": 460800,
    "total": 134975808,
    "device": "cuda:0",
    "device_name": "NVIDIA GeForce RTX 4090",
    "precision": "bf16",
    "micro_batch": 4,
    "accumulation": 4,
    "effective_batch": 16,
    "steps": 600,
    "tokens_per_step": 3120,
    "learning_rate": 2e-4,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "warmup_steps": 18,
    "clip_norm": 1.0,
    "checkpointing": False,
    "packing": True,
    "eval_every": 100,
    "save_every": 100,
    "keep_checkpoints": 2,
    "early_stopping": None,
    "seed": 0,
    "autos": [
        {"field": "train.micro_batch", "value": 4, "reason": "the largest that leaves a tenth of the memory free"},
        {"field": "train.precision", "value": "bf16", "reason": "the GPU computes in bfloat16"},
        {"field": "train.learning_rate", "value": 2e-4, "reason": "what the method's authors use"},
        {"field": "train.packing", "value": True, "reason": "rows are short: 2.4 fit into one sequence"},
    ],
}
ESTIMATE = {
    "memory": {
        "total_bytes": int(2.1 * GIB),
        "low_bytes": int(1.9 * GIB),
        "high_bytes": int(2.45 * GIB),
        "parts": {"weights": GIB},
    },
    "time": {"seconds": 420, "low": 300, "high": 600, "seconds_per_step": 0.6},
    "energy": {"watt_hours": 21.0, "low": 15.0, "high": 30.0},
    "fits": True,
    "verdict": "fits",
    "device": "cuda:0",
    "basis": "formula",
    "evidence": "closed form",
}


class RunWriter:
    """A run folder in the making; holds its lock until ``release``."""

    def __init__(
        self, runs: Path, run_id: str = "20261124-063100-boolq-lora-4f2a", *, clock: float | None = None, **plan: object
    ) -> None:
        self.folder = RunFolder(runs / run_id)
        self.folder.path.mkdir(parents=True)
        self.folder.spec.write_text(json.dumps(SPEC))
        self.folder.plan.write_text(json.dumps({**PLAN, **plan}))
        self.folder.estimate.write_text(json.dumps(ESTIMATE))
        self._lock = RunLock(self.folder.lock)
        self._file = self.folder.events.open("ab", buffering=0)
        self.clock = time.time() - 300 if clock is None else clock
        self.floor, self.decay, self.seed = 0.35, 120.0, 0  # of the loss: where it ends, how fast, which noise

    def add(self, *events: Event) -> None:
        self._file.write(b"".join(encode(event).encode() + b"\n" for event in events))

    def release(self) -> None:
        """The worker is gone."""
        self._file.close()
        self._lock.close()

    def state(self, state: str, reason: str = "") -> None:
        self.add(StateChanged(self._tick(0.1), state, reason))

    def phase(self, phase: str, progress: float | None = None) -> None:
        self.add(PhaseChanged(self._tick(0.1), phase, progress))

    def steps(self, first: int, last: int, *, device: bool = True, total: int = 600) -> None:
        """Metrics and device readings of the steps ``first`` to ``last``."""
        for step in range(first, last + 1):
            self.add(self.metrics(step, total))
            if device and step % 2 == 0:
                self.add(self.reading(step))

    def metrics(self, step: int, total: int = 600) -> Metrics:
        noise = random.Random(step + self.seed * 100_003).gauss(0, 0.12)
        values = {
            "loss": [self.floor + 2.1 * math.exp(-step / self.decay) + noise],
            "learning_rate": [2e-4 * min(step / 18, 0.5 * (1 + math.cos(math.pi * step / total)))],
            "grad_norm": [abs(0.6 + 3 * math.exp(-step / 60) + noise * 3)],
            "tokens": [3120.0],
            "seconds": [0.5 + abs(noise) * 0.3],
        }
        return Metrics(self._tick(0.5), [step], values)

    def reading(self, step: int) -> DeviceRead:
        wobble = random.Random(-step).gauss(0, 1)
        sample = {
            "device": "cuda:0",
            "used_bytes": int((2.2 + 0.02 * wobble) * GIB),
            "total_bytes": 24 * GIB,
            "free_bytes": 20 * GIB,
            "process_bytes": int((2.05 + 0.02 * wobble) * GIB),
            "utilization": 0.9,
            "power_w": 180 + 12 * wobble,
            "energy_j": 181.0 * self.clock,
            "temperature_c": 62 + 6 * (1 - math.exp(-step / 100)) + 0.3 * wobble,
        }
        return DeviceRead(self.clock, sample, None)

    def eval(self, step: int) -> None:
        share = math.exp(-step / (self.decay + 20))
        loss = self.floor + 0.1 + 1.9 * share
        accuracy = 0.83 - 0.3 * share
        self.add(Evaluated(self._tick(2), step, {"loss": loss, "accuracy": accuracy}, 1.9))
        samples = [
            {
                "prompt": "The Eiffel Tower was repainted in 2010 and again before the Olympic Games.\n"
                "Question: was the eiffel tower painted after 2000?\nAnswer:",
                "expected": "yes",
                "output": "yes" if step else "The Eiffel Tower is a wrought-iron lattice tower",
            },
            {
                "prompt": "Ethanol fuel needs more energy to produce than it gives back, some claim.\n"
                "Question: does ethanol take more energy make that produces?\nAnswer:",
                "expected": "no",
                "output": "no" if step > 100 else "yes, it does, because",
            },
        ]
        self.add(Sampled(self._tick(0.5), step, samples))

    def checkpoint(self, step: int, removed: list[int] | None = None) -> None:
        self.add(
            CheckpointSaved(self._tick(0.2), step, f"checkpoints/{step}", 5_600_000, step % 200 == 0, removed or [])
        )

    def finish(self) -> None:
        self.add(
            ArtifactWritten(self._tick(0.1), "adapter", "artifacts/adapter.safetensors", 1_850_000),
            Measured(self._tick(0.1), int(2.08 * GIB), 356.0, 0.56, 5570.0, 17.8),
        )
        self.state("completed")
        self.release()

    def notice(self, level: str, message: str) -> None:
        self.add(Noticed(self._tick(0.1), level, message))

    def _tick(self, seconds: float) -> float:
        self.clock += seconds
        return self.clock


def write_running(writer: RunWriter, steps: int = 340) -> RunWriter:
    """A run in the middle of its work."""
    writer.state("starting")
    writer.phase("loading the model")
    writer.notice("info", "training 460,800 of 134,975,808 parameters")
    writer.eval(0)
    writer.state("running")
    writer.phase("training")
    for first in range(1, steps + 1, 100):
        last = min(first + 99, steps)
        writer.steps(first, last)
        if last % 100 == 0:
            writer.eval(last)
            writer.checkpoint(last, [last - 200] if last > 200 else [])
    return writer
