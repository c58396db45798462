"""What it costs a run to be watched."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from studio.devices import EnergyMeter, sample
from studio.engine.telemetry import Telemetry

SHARE = 0.005  # of a step's time
STEP_S = 0.05
READING_EVERY_S = 1.0
VALUES = {
    "loss": 1.0,
    "learning_rate": 2e-4,
    "grad_norm": 0.5,
    "tokens": 978,
    "seconds": STEP_S,
    "own/a": 1,
    "own/b": 2,
}


def test_that_watching_takes_less_than_half_a_percent_of_short_steps(
    tmp_path: Path, open_telemetry: Callable[[Path], Telemetry]
) -> None:
    telemetry = open_telemetry(tmp_path)

    def step(number: int) -> None:
        telemetry.step(number, VALUES)
        telemetry.flush()  # at this pace every second step does it by itself

    meter = EnergyMeter("cpu", os.getpid())

    def read(_: int) -> None:
        taken = sample("cpu", os.getpid())
        meter.add(taken)
        telemetry.device(taken)

    share = seconds_of(step, 300) / STEP_S + seconds_of(read, 50) / READING_EVERY_S
    assert share < SHARE


def seconds_of(work: Callable[[int], None], times: int) -> float:
    """Processor time of one call."""
    work(0)
    started = time.thread_time()
    for number in range(1, times + 1):
        work(number)
    return (time.thread_time() - started) / times
