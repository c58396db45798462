"""Watts of a run, where the device has a meter that will confirm them."""

from studio.core.facts import DeviceFacts
from studio.estimate.inputs import EstimateInputs
from studio.estimate.speed import Speed
from studio.estimate.tables import find_gpu

IDLE_SHARE = 0.12  # of the power limit, on devices without a known figure
LEAST_SHARE, MOST_SHARE = 0.35, 0.85  # of the range above idle: launching only, computing all the time


def idle_w(device: DeviceFacts) -> float | None:
    """Watts when nothing runs; None where the machine has no power limit to read, hence no meter."""
    if device.power_limit_w is None:
        return None
    gpu = find_gpu(device.name) if device.kind == "cuda" else None
    return min(gpu.idle_w, device.power_limit_w) if gpu else IDLE_SHARE * device.power_limit_w


def training_w(inputs: EstimateInputs, speed: Speed) -> float | None:
    """Mean watts while training: idle and a share of the range to the limit, larger the busier the device is."""
    idle, limit = idle_w(inputs.device), inputs.device.power_limit_w
    if idle is None or limit is None:
        return None
    return idle + (LEAST_SHARE + (MOST_SHARE - LEAST_SHARE) * speed.busy) * (limit - idle)
