"""Models, devices and runs to estimate in tests."""

from dataclasses import replace
from typing import Any

from studio.api import ParamDecl, Site
from studio.core.facts import DeviceFacts, LengthFacts, ModelFacts
from studio.estimate import EstimateInputs

GIB = 1024**3
ROLES = ("q", "k", "v", "o", "gate", "up", "down")
Declared = tuple[tuple[Site, tuple[ParamDecl, ...]], ...]


def small_decoder(**changes: Any) -> ModelFacts:
    """A Llama of 135 M parameters."""
    facts = ModelFacts(
        name="small", path="", architecture="LlamaForCausalLM", model_type="llama", kind="decoder",
        params=134_515_008, weight_bytes=269_030_016, dtype="bfloat16", layers=30, hidden=576, intermediate=1536,
        heads=9, kv_heads=3, head_dim=64, vocab=49_152, max_positions=8192, tied_embeddings=True, gated_mlp=True,
        has_chat_template=True,
    )  # fmt: skip
    return facts.model_copy(update=changes)


def big_decoder() -> ModelFacts:
    """A Llama of 6.7 B parameters."""
    return small_decoder(
        name="big", params=6_738_415_616, weight_bytes=13_476_831_232, layers=32, hidden=4096, intermediate=11_008,
        heads=32, kv_heads=32, head_dim=128, vocab=32_000, max_positions=4096, tied_embeddings=False,
    )  # fmt: skip


def small_encoder(**changes: Any) -> ModelFacts:
    """A BERT of 22.7 M parameters."""
    facts = ModelFacts(
        name="encoder", path="", architecture="BertModel", model_type="bert", kind="encoder", params=22_713_216,
        weight_bytes=90_852_864, dtype="float32", layers=6, hidden=384, intermediate=1536, heads=12, kv_heads=12,
        head_dim=32, vocab=30_522, max_positions=512, tied_embeddings=False, gated_mlp=False, has_chat_template=False,
    )  # fmt: skip
    return facts.model_copy(update=changes)


def cpu(free_gib: float = 24) -> DeviceFacts:
    return DeviceFacts(
        id="cpu", name="Test CPU", kind="cpu", total_bytes=32 * GIB, free_bytes=int(free_gib * GIB), bf16=True, cores=2
    )


def gpu(name: str = "NVIDIA GeForce RTX 4090", gib: float = 24, **changes: Any) -> DeviceFacts:
    facts = DeviceFacts(
        id="cuda:0", name=name, kind="cuda", total_bytes=int(gib * GIB), free_bytes=int((gib - 0.5) * GIB),
        compute_capability=(8, 9), bf16=True, power_limit_w=450,
    )  # fmt: skip
    return facts.model_copy(update=changes)


def sites(model: ModelFacts, roles: tuple[str, ...] = ROLES) -> tuple[Site, ...]:
    """The linear sites of a gated decoder."""
    hidden, middle, keys = model.hidden, model.intermediate, model.kv_heads * model.head_dim
    shapes = {
        "q": (hidden, hidden), "k": (hidden, keys), "v": (hidden, keys), "o": (hidden, hidden),
        "gate": (hidden, middle), "up": (hidden, middle), "down": (middle, hidden),
        "fc1": (hidden, middle), "fc2": (middle, hidden),
    }  # fmt: skip
    return tuple(
        Site(f"layers.{layer}.{role}", "linear", role, layer, *shapes[role], shape=shapes[role][::-1], has_bias=False)
        for layer in range(model.layers)
        for role in roles
    )


def lora(model: ModelFacts, rank: int = 8, roles: tuple[str, ...] = ROLES, lowest: int = 0) -> Declared:
    """LoRA's declarations in the layers from ``lowest`` on."""
    return tuple(
        (site, (ParamDecl("A", (rank, site.d_in), "kaiming"), ParamDecl("B", (site.d_out, rank))))
        for site in sites(model, roles)
        if (site.layer or 0) >= lowest
    )


def full(model: ModelFacts) -> Declared:
    """Full fine-tuning of the linear sites."""
    return tuple((site, (ParamDecl("weight", site.shape, base="weight"),)) for site in sites(model))


def lengths(**changes: Any) -> LengthFacts:
    facts = LengthFacts(
        sampled=256, mean=150.0, p50=130, p95=320, longest=480, trained=30.0, truncated=0, max_length=512
    )
    return facts.model_copy(update=changes)


def inputs(model: ModelFacts | None = None, **changes: Any) -> EstimateInputs:
    """A LoRA run of the small decoder, with changes."""
    chosen = model or small_decoder()
    start = EstimateInputs(
        model=chosen, device=cpu(), task="sft", precision="bf16", micro_batch=4, accumulation=4, steps=60,
        train_rows=1000, eval_rows=0, eval_every=20, max_length=512, checkpointing=False, packing=False,
        declared=(), lengths=lengths(), effective_batch=16,
    )  # fmt: skip
    return replace(start, **{"declared": lora(chosen), **changes})
