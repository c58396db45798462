"""What a layer of each model family keeps for its backward pass, as far as it matters for memory."""

from dataclasses import dataclass
from typing import Literal

from studio.core.facts import ModelFacts

Attention = Literal["fused", "capped", "written", "disentangled"]

TANH_GELU = frozenset({"gpt2", "gptj", "gpt_neo", "codegen", "phi"})  # written out in four elementwise steps
QK_NORM = frozenset({"qwen3", "gemma3", "gemma3_text", "olmo2"})
WRITTEN_GELU = frozenset({"bloom"})  # with a backward pass of its own
RELU = frozenset({"opt"})
ONE_NORM = frozenset(
    {"phi", "gpt_neox", "falcon", "gptj", "codegen", "cohere"}
)  # attention and feed-forward read the same input
FOUR_NORMS = frozenset({"gemma2", "gemma3", "gemma3_text"})
FUSED_ROTARY = frozenset({"gpt_neox", "phi3", "modernbert"})  # one projection makes queries, keys and values
FUSED_GATE = frozenset({"phi3", "modernbert"})
GATED_GELU = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text"})  # keep its output too
PARTIAL_ROTARY = frozenset({"gpt_neox", "phi3", "phi", "stablelm"})  # their concatenation changes the layout
GATED_LAYER_NORM = frozenset({"stablelm", "cohere", "cohere2", "modernbert"})
PRE_NORM_ENCODERS = frozenset({"modernbert", "nomic_bert", "eurobert"})
DROPOUT = frozenset(
    {
        "bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "mpnet", "deberta", "deberta-v2",
        "gpt2", "opt",
    }
)  # fmt: skip
KEEPS_WEIGHTS = frozenset({"opt"})  # drop hidden states, but no attention weights
FUNCTIONAL_DROPOUT = frozenset({"opt"})  # in no module of its own
ATTENTION: dict[str, Attention] = {
    "gemma2": "capped", "bloom": "written", "deberta": "disentangled", "deberta-v2": "disentangled",
}  # fmt: skip
SINGLE_KEYS = frozenset({"falcon"})
# families whose layers this formula was derived for; others get wider bands
KNOWN = frozenset(
    {
        "llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "granite", "olmo2", "starcoder2", "gemma", "gemma2",
        "gemma3", "gemma3_text", "gpt2", "gpt_neox", "opt", "phi", "stablelm", "falcon", "bloom", "mixtral",
        "qwen3_moe", "bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "modernbert", "deberta-v2",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """The shape of one transformer layer.

    ``mlp_kept`` counts how many tensors of the intermediate size its feed-forward keeps. ``fused_rotary``:
    values are a view that keeps the whole projection alive. ``output_copied``: the output projection reads a
    copy of attention's output. ``attention``: one kernel, or written out with capped scores, with plain ones, or with
    relative positions apart; ``single_keys``: a single head of keys is not repeated for the queries. ``relu``: the
    feed-forward keeps its nonlinearity's output, not the input; ``mlp_scratch`` more are in flight when it goes back;
    ``fused_gate``: one map makes gate and up. ``known`` says whether the formula was checked on
    this family.
    """

    norm: Literal["rms", "layer"]
    post_norm: bool
    norm_stages: tuple[float, ...]  # where in the layer they lie, see ``footprint.PRE_NORM_STAGES``
    qk_norm: bool
    fused_rotary: bool
    output_copied: bool
    ends_with_norm: bool
    mlp_kept: int
    mlp_scratch: int
    fused_gate: bool
    relu: bool
    attention: Attention
    single_keys: bool
    dropout: bool
    attention_dropout: bool
    functional_dropout: bool
    known: bool


def family_of(model: ModelFacts) -> Family:
    """The family of a model, by its type where that says more than its facts."""
    name = model.model_type
    rms = model.gated_mlp and name not in GATED_LAYER_NORM
    post_norm = model.kind == "encoder" and name not in PRE_NORM_ENCODERS
    fused_gate = name in FUSED_GATE or model.active_experts > 1
    return Family(
        norm="rms" if rms else "layer",
        post_norm=post_norm,
        norm_stages=_norm_stages(name, post_norm),
        qk_norm=name in QK_NORM,
        fused_rotary=name in FUSED_ROTARY,
        output_copied=name in PARTIAL_ROTARY,
        ends_with_norm=name in FOUR_NORMS or name == "olmo2",
        mlp_kept=_mlp_kept(model, fused_gate=fused_gate),
        mlp_scratch=5 if name in WRITTEN_GELU else 2,
        fused_gate=fused_gate,
        relu=name in RELU,
        attention=ATTENTION.get(name, "fused"),
        single_keys=name in SINGLE_KEYS,
        dropout=name in DROPOUT,
        attention_dropout=name not in KEEPS_WEIGHTS,
        functional_dropout=name in FUNCTIONAL_DROPOUT,
        known=name in KNOWN,
    )


def _mlp_kept(model: ModelFacts, *, fused_gate: bool) -> int:
    """Gate and up, from which their product is made again, unless it is written out in other steps."""
    if model.gated_mlp:
        return 3 if fused_gate or model.model_type in GATED_GELU else 2
    return 4 if model.model_type in TANH_GELU else 1


def _norm_stages(name: str, post_norm: bool) -> tuple[float, ...]:
    if post_norm:
        return (3, 6)
    if name in ONE_NORM:
        return (0,)
    return (0, 2.5, 3, 5.5) if name in FOUR_NORMS else (0, 3)
