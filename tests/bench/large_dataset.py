"""What a large JSON lines file costs: its first rows, reading it in, checking every row; beside HF datasets.

Run it by hand on an idle machine: ``python -m tests.bench.large_dataset [--gb 5] [--datasets PYTHON]``, where PYTHON is
an interpreter that has ``datasets``. Each task runs in a process of its own; the peak is of that process.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from studio.core.units import format_bytes
from studio.datasets.library import DatasetLibrary
from studio.datasets.peek import peek

SYLLABLES = (
    "ka",
    "lo",
    "mi",
    "te",
    "ru",
    "so",
    "ne",
    "pa",
    "vi",
    "gu",
    "ran",
    "tel",
    "dor",
    "mis",
    "pek",
    "lun",
    "sar",
)
LOAD = (
    "import resource, time; start = time.perf_counter(); from datasets import load_dataset; "
    "rows = load_dataset('json', data_files={file!r}, cache_dir={cache!r}, split='train'); "
    "loaded = time.perf_counter() - start; start = time.perf_counter(); "
    "rows.map(lambda row: {{'same': hash((row['prompt'], row['completion']))}}); "
    "print(loaded, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--gb", type=float, default=5.0)
    options.add_argument("--datasets", default="", metavar="PYTHON")
    options.add_argument("--task", nargs=2, metavar=("TASK", "FOLDER"))
    chosen = options.parse_args()
    if chosen.task:
        task, folder = chosen.task
        TASKS[task](Path(folder))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "large.jsonl")
        rows = write(file, chosen.gb * 1e9)
        size_mb = file.stat().st_size / 1e6
        print(f"{size_mb:,.0f} MB, {rows:,} rows")
        for task in TASKS:
            start = time.perf_counter()
            command = [sys.executable, "-m", "tests.bench.large_dataset", "--task", task, place]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            show(task, time.perf_counter() - start, size_mb, float(done.stdout.split()[-1]))
        if chosen.datasets:
            code = LOAD.format(file=str(file), cache=str(Path(place, "cache")))
            done = subprocess.run([chosen.datasets, "-c", code], capture_output=True, text=True, check=True)
            loaded, mapped, peak = map(float, done.stdout.split())
            show("datasets: load", loaded, size_mb, peak)
            show("datasets: one hash a row", mapped, size_mb, peak)


def write(file: Path, size: float) -> int:
    """Questions with answers, all different, of some 650 bytes a row; how many."""
    chance = random.Random(0)
    words = [first + second for first in SYLLABLES for second in SYLLABLES]
    written = rows = 0
    with file.open("w") as out:
        while written < size:
            prompt = f"{rows} {' '.join(chance.choices(words, k=chance.randint(20, 120)))}"
            answer = " ".join(chance.choices(words, k=chance.randint(5, 60)))
            written += out.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
            rows += 1
    return rows


def show(task: str, seconds: float, size_mb: float, peak: float) -> None:
    print(f"{task:28} {seconds:9.2f} s {size_mb / seconds:9.1f} MB/s {format_bytes(int(peak)):>10}", flush=True)


def look(folder: Path) -> None:
    peek(folder / "large.jsonl")


def read_in(folder: Path) -> None:
    DatasetLibrary(folder / "library").add(folder / "large.jsonl", name="large")


def check(folder: Path) -> None:
    DatasetLibrary(folder / "library").lint("large")


TASKS: dict[str, Callable[[Path], None]] = {"first rows": look, "reading in": read_in, "checking every row": check}

if __name__ == "__main__":
    main()
