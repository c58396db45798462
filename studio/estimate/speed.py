"""Seconds from operations: what a device sustains, and what it costs to launch the work."""

from dataclasses import dataclass

from studio.core.facts import DeviceFacts
from studio.estimate.footprint import Footprint
from studio.estimate.inputs import EstimateInputs
from studio.estimate.packed import base_bytes, unpacked_scalars
from studio.estimate.tables import cpu_facts, find_gpu
from studio.estimate.work import Work, measure_work

HALF_EFFICIENCY, FP32_EFFICIENCY = 0.4, 0.6  # share of a GPU's peak that training sustains
IMPORT_S = {"cpu": 8.0, "cuda": 12.0}  # Python, torch and transformers; a GPU adds its context
LOAD_BYTES_PER_S = 0.5e9
ENCODE_S = 3e-4  # reading and tokenizing one row
LAUNCH_LAYER_S = {"cpu": 3e-4, "cuda": 8e-4}  # one pass through one layer, whatever its size
LAUNCH_SITE_S = {"cpu": 3e-5, "cuda": 6e-5}  # one call of a method at one site
UNPACKED_PER_CORE = 4e8  # scalars a second: 4 bits to fp32, measured on two cores with AVX2
UNKNOWN_GPU = {9: (4e14, 4e13, 2e12), 8: (5e13, 2e13, 5e11), 7: (3e13, 8e12, 3e11), 0: (5e12, 5e12, 2e11)}


@dataclass(frozen=True)
class Rates:
    """Operations and bytes per second that a device sustains; whether the device is known."""

    flops: float
    bytes_per_s: float
    known: bool


@dataclass(frozen=True)
class Speed:
    """Seconds of a run, by part; ``busy`` is the share of a step in which the device computes."""

    start: float
    step: float
    evals: float
    busy: float


def measure_speed(inputs: EstimateInputs, footprint: Footprint, flops_per_token: float | None = None) -> Speed:
    """The time of a run without corrections; ``flops_per_token`` as in ``measure_work``."""
    rates = rates_of(inputs.device, inputs.precision)
    work = measure_work(inputs, footprint, flops_per_token)
    passes_back = 3 if inputs.checkpointing else 2
    launch = work.micro_steps * (1 + passes_back) * _launch_s(inputs, footprint)
    compute = work.step_flops / rates.flops + work.micro_steps * passes_back * _unpacking_s(inputs, rates)
    step = _together(inputs, compute, launch) + work.optimizer_bytes / rates.bytes_per_s
    return Speed(
        start=IMPORT_S[inputs.device.kind] + inputs.model.weight_bytes / LOAD_BYTES_PER_S
        + ENCODE_S * (inputs.train_rows + inputs.eval_rows),
        step=step,
        evals=work.evals * _eval_s(inputs, footprint, work, rates),
        busy=min(1.0, compute / step) if step else 0.0,
    )  # fmt: skip


def rates_of(device: DeviceFacts, precision: str) -> Rates:
    """What the device sustains in a precision."""
    if device.kind == "cpu":
        cpu = cpu_facts(device)
        cores = device.cores or 1
        return Rates(cpu.flops_per_core[precision] * 2 * (cores / 2) ** 0.8, cpu.bytes_per_s, known=False)
    gpu = find_gpu(device.name)
    half, fp32, bandwidth = (gpu.half_flops, gpu.fp32_flops, gpu.bytes_per_s) if gpu else _guess(device)
    flops = fp32 * FP32_EFFICIENCY if precision == "fp32" else half * HALF_EFFICIENCY
    return Rates(flops, bandwidth * 0.7, gpu is not None)


def _guess(device: DeviceFacts) -> tuple[float, float, float]:
    """A modest card of the device's generation."""
    major = (device.compute_capability or (0, 0))[0]
    return UNKNOWN_GPU[max(known for known in UNKNOWN_GPU if known <= major)]


def _launch_s(inputs: EstimateInputs, footprint: Footprint) -> float:
    kind = inputs.device.kind
    return inputs.model.layers * LAUNCH_LAYER_S[kind] + footprint.sites * LAUNCH_SITE_S[kind]


def _unpacking_s(inputs: EstimateInputs, rates: Rates) -> float:
    """Of all packed matrices, once."""
    scalars = unpacked_scalars(inputs)
    if inputs.device.kind == "cpu":
        return scalars / (UNPACKED_PER_CORE * (inputs.device.cores or 1))
    return scalars * (1 + inputs.width) / rates.bytes_per_s


def _together(inputs: EstimateInputs, compute: float, launch: float) -> float:
    """A GPU computes while the next work is launched; a CPU does one after the other."""
    return max(compute, launch) if inputs.device.kind == "cuda" else compute + launch


def _eval_s(inputs: EstimateInputs, footprint: Footprint, work: Work, rates: Rates) -> float:
    """Held-out rows, and the samples that are written one token at a time."""
    launch = _launch_s(inputs, footprint)
    rows = _together(inputs, work.eval_flops / rates.flops, work.eval_batches * launch)
    token = max(base_bytes(inputs) / rates.bytes_per_s + _unpacking_s(inputs, rates), launch)
    return rows + work.new_tokens * token
