"""What a layer of each model family keeps for its backward pass, as far as it matters for memory."""

from dataclasses import dataclass
from typing import Literal

from studio.core.facts import ModelFacts

TANH_GELU = frozenset({"gpt2", "gptj", "gpt_neo", "codegen", "phi"})  # written out in four elementwise steps
QK_NORM = frozenset({"qwen3", "gemma3", "gemma3_text", "olmo2", "smollm3_norm"})
FOUR_NORMS = frozenset({"gemma2", "gemma3", "gemma3_text"})
GATED_LAYER_NORM = frozenset({"stablelm", "cohere", "cohere2", "modernbert"})
PRE_NORM_ENCODERS = frozenset({"modernbert", "nomic_bert", "eurobert"})
DROPOUT = frozenset(
    {
        "bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "mpnet", "albert", "deberta",
        "deberta-v2", "gpt2", "gpt_neo", "opt",
    }
)  # fmt: skip
# families whose layers this formula was derived for; others get wider bands
KNOWN = frozenset(
    {
        "llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "granite", "olmo2", "starcoder2", "gemma", "gemma3",
        "gemma3_text", "gpt2", "gpt_neox", "opt", "bert", "roberta", "xlm-roberta", "camembert", "electra",
        "distilbert", "modernbert",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """The shape of one transformer layer.

    ``mlp_kept`` counts how many tensors of the intermediate size its feed-forward keeps. ``known`` says
    whether the formula was derived for this family.
    """

    norm: Literal["rms", "layer"]
    post_norm: bool
    norms: int
    qk_norm: bool
    mlp_kept: int
    dropout: bool
    known: bool


def family_of(model: ModelFacts) -> Family:
    """The family of a model, by its type where that says more than its facts."""
    name = model.model_type
    rms = model.gated_mlp and name not in GATED_LAYER_NORM
    return Family(
        norm="rms" if rms else "layer",
        post_norm=model.kind == "encoder" and name not in PRE_NORM_ENCODERS,
        norms=4 if name in FOUR_NORMS else 2,
        qk_norm=name in QK_NORM,
        mlp_kept=3 if model.gated_mlp else 4 if name in TANH_GELU else 1,
        dropout=name in DROPOUT,
        known=name in KNOWN,
    )
