"""Counting starts, reads a large model's files and answers within half a second, whatever the method."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.models.header import INDEX
from tests.helpers.weights import LLAMA, llama_shapes, write_safetensors

LAYERS, SHARDS = 80, 30  # as many tensors and files as a 70 B model has
LIMIT_S, TRIES = 0.5, 12


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    shapes = llama_shapes(layers=LAYERS)
    names = list(shapes)
    shards = {f"model-{i:05}-of-{SHARDS:05}.safetensors": names[i - 1 :: SHARDS] for i in range(1, SHARDS + 1)}
    for file, held in shards.items():
        write_safetensors(folder / file, {name: shapes[name] for name in held})
    (folder / INDEX).write_text(json.dumps({"weight_map": {n: f for f, held in shards.items() for n in held}}))
    (folder / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": LAYERS}))
    return folder


@pytest.mark.parametrize("method", ["lora", "apet", "peft-boft"])
def test_that_a_large_model_is_counted_within_half_a_second(large: Path, method: str) -> None:
    # compiled modules are kept, as in an installed program, even where the tests' own environment forbids it
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(large / "compiled")
    command = [sys.executable, "-m", "studio", "methods", "count", "--model", f"path:{large}", "--method", method]
    wall, used = [1.0], [1.0]
    while len(wall) < TRIES and min(*wall, *used) >= LIMIT_S:  # a shared machine is slow for seconds at a time
        before, started = os.times(), time.perf_counter()
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, env=environment)
        wall.append(time.perf_counter() - started)
        after = os.times()
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    counted = json.loads(done.stdout)
    assert counted["trainable"] > 0
    assert counted["params"]
    # other work on the machine stretches the wall clock, not the processor time that counting takes
    assert min(*wall, *used) < LIMIT_S
