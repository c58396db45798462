"""Stands in for the process that simulates: the length of a question says how it behaves; ``layers`` is its pid."""

import json
import os
import sys
import time

LENGTHS = {"answers": 64, "refuses": 65, "crashes": 66, "hangs": 67, "garbles": 68, "misses": 69, "floods": 70}
POLYNOMIAL = (1.0, 1.0, 0.0)
PROFILE = {
    "layers": 0, "shallow_layers": 2, "deep_layers": 3, "alone": False, "segments": [], "length": 0,
    "operations": {"shallow": POLYNOMIAL, "deep": POLYNOMIAL},
}  # fmt: skip


def answer(length: int) -> str:
    if length == LENGTHS["crashes"]:
        os._exit(7)
    if length == LENGTHS["hangs"]:
        time.sleep(60)
    if length == LENGTHS["floods"]:
        print("x" * (3 << 20), file=sys.stderr)
        time.sleep(60)
    if length == LENGTHS["garbles"]:
        return "no JSON"
    if length == LENGTHS["misses"]:
        return json.dumps({"profile": {"layers": "many"}})
    if length == LENGTHS["refuses"]:
        return json.dumps({"error": "this model has no step"})
    return json.dumps({"profile": {**PROFILE, "length": length, "layers": os.getpid()}})


if __name__ == "__main__":
    for line in sys.stdin:
        print(answer(json.loads(line)["length"]), flush=True)
