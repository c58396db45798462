"""How long forecasts take: the formula, the simulation in its warm process, and the questions it then answers.

Run it by hand on an idle machine: ``python -m tests.bench.estimate_latency``. Models of 135 M to 70 B parameters are
folders with a config and a weight header; their weights are holes in a file.
"""

import json
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from studio.core.facts import DeviceFacts, LengthFacts
from studio.core.units import GIB
from studio.estimate import EstimateInputs, estimate_run
from studio.estimate.needs import Needs, simulated_batch
from studio.estimate.room import find_room
from studio.extensions.declaring import declare_at
from studio.extensions.methods import open_method
from studio.extensions.registry import discover
from studio.models.inspect import inspect_model
from studio.models.sites import find_sites
from studio.models.where import select
from studio.service.simulation import Simulator
from tests.helpers.simulated import Case, plan_of

SIZES = {  # hidden, intermediate, layers, heads, key-value heads, vocabulary, whether the embeddings are tied
    "135M": (576, 1536, 30, 9, 3, 49_152, True),
    "1B": (2048, 8192, 16, 32, 8, 128_256, True),
    "8B": (4096, 14_336, 32, 32, 8, 128_256, False),
    "70B": (8192, 28_672, 80, 64, 8, 128_256, False),
}
LENGTH, ROWS = 1024, 4


def write_model(folder: Path, size: str) -> None:
    """A Llama of that size without a byte of weights."""
    hidden, middle, layers, heads, kv_heads, vocab, tied = SIZES[size]
    head = hidden // heads
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for i in range(layers):
        block = {
            "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv_heads * head, hidden),
            "self_attn.v_proj": (kv_heads * head, hidden), "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (middle, hidden), "mlp.up_proj": (middle, hidden), "mlp.down_proj": (hidden, middle),
            "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
        }  # fmt: skip
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in block.items()}
    if not tied:
        shapes["lm_head.weight"] = (vocab, hidden)
    header, end = {}, 0
    for name, shape in shapes.items():
        bytes_ = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + bytes_]}
        end += bytes_
    raw = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": middle, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": vocab, "tie_word_embeddings": tied,
        "max_position_embeddings": 8192,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def inputs_of(folder: Path) -> EstimateInputs:
    """LoRA of rank 16 on all projections in bf16, on a card with 24 GiB."""
    method = open_method(discover().get("lora", "method"))
    params, _ = method.parse({"rank": 16}, "params")
    assert params is not None
    chosen = tuple(select(find_sites(folder), "kind == linear and layer >= 0"))
    lengths = LengthFacts(
        sampled=256, mean=600, p50=600, p95=900, longest=LENGTH, trained=300, truncated=0, max_length=LENGTH
    )
    return EstimateInputs(
        model=inspect_model(folder),
        device=DeviceFacts(
            id="cuda:0", name="RTX 4090", kind="cuda", total_bytes=24 * GIB, free_bytes=24 * GIB, bf16=True,
            compute_capability=(8, 9), power_limit_w=450,
        ),
        task="sft", precision="bf16", micro_batch=ROWS, accumulation=4, steps=100, train_rows=1000, eval_rows=32,
        eval_every=50, max_length=LENGTH, checkpointing=False, packing=False, lengths=lengths,
        declared=declare_at(method, params, chosen),
    )  # fmt: skip


def best_ms(question: Callable[[], object], times: int = 20) -> float:
    """The least disturbed of some tries."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        question()
        taken.append(time.perf_counter() - started)
    return min(taken) * 1000


@dataclass(frozen=True)
class Timed:
    """Milliseconds of the formula and of the room, seconds of simulations."""

    formula_ms: float
    recomputing_ms: float
    cpu_s: float
    cuda_s: float
    recomputing_s: float
    room_ms: float


def measure(size: str, simulator: Simulator) -> Timed:
    """The times for a model of one size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, size)
        inputs = inputs_of(folder)
        recomputing = replace(inputs, checkpointing=True)
        plan = plan_of(Case("llama", precision="bf16", params={"rank": 16}, rows=ROWS, length=LENGTH), folder)
        length, trained = simulated_batch(inputs)
        cpu = inputs.device.model_copy(update={"kind": "cpu", "compute_capability": None})

        def simulated_s(device: DeviceFacts, *, checkpointing: bool = False) -> float:
            started = time.perf_counter()
            fresh = {"model_fingerprint": f"{size} {started}", "checkpointing": checkpointing}
            simulator.profile(plan.model_copy(update=fresh), device, length=length, trained=trained, alone=False)
            return time.perf_counter() - started

        simulated_s(cpu)  # what is done once a model, or once a process
        profile = simulator.profile(plan, inputs.device, length=length, trained=trained, alone=False)
        return Timed(
            formula_ms=best_ms(lambda: estimate_run(inputs)),
            recomputing_ms=best_ms(lambda: estimate_run(recomputing)),
            cpu_s=min(simulated_s(cpu) for _ in range(3)),
            cuda_s=min(simulated_s(inputs.device) for _ in range(3)),
            recomputing_s=min(simulated_s(cpu, checkpointing=True) for _ in range(3)),
            room_ms=best_ms(lambda: find_room(Needs(inputs, profile), lambda bytes_: bytes_ < 24 * GIB)),
        )


def main() -> None:
    simulator = Simulator()
    print(f"{'':>6} {'formula':>22} {'simulated':>30} {'then':>13}")
    print(f"{'':>6} {'kept':>10} {'recomputed':>11} {'CPU':>8} {'CUDA':>8} {'recomputed':>12} {'largest batch':>13}")
    for size in SIZES:
        taken = measure(size, simulator)
        print(
            f"{size:>6} {taken.formula_ms:7.1f} ms {taken.recomputing_ms:8.1f} ms {taken.cpu_s:6.2f} s"
            f" {taken.cuda_s:6.2f} s {taken.recomputing_s:10.2f} s {taken.room_ms:10.1f} ms",
            flush=True,
        )
    simulator.close()


if __name__ == "__main__":
    main()
