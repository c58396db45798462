"""Write resources/tables/peft_methods.json: what the studio says of peft's methods, with peft's own defaults.

``python packaging/peft_methods.py`` after each change of peft; it stops at a field that nobody decided about.
"""

import dataclasses
import importlib.metadata
import json
import sys
import types
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "resources" / "tables" / "peft_methods.json"
LINEAR = "role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)"

# fields that the host fills in, or that stay as peft has them
OWNED = frozenset({
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "bias",
    "fan_in_fan_out", "rank_pattern", "alpha_pattern", "lambda_pattern", "block_size_pattern", "n_frequency_pattern",
    "init_ia3_weights", "feedforward_modules", "save_projection", "save_indices", "save_precomputed_indices",
    "save_only_topk_weights", "progressbar", "runtime_offload_base_weight", "target_svd_config", "megatron_config",
    "megatron_core",
})  # fmt: skip


# of those, the ones that change what an adapter computes: one that sets them cannot be adopted
BINDING = frozenset({
    "rank_pattern", "alpha_pattern", "lambda_pattern", "block_size_pattern", "n_frequency_pattern", "target_svd_config",
    "save_only_topk_weights",
})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Field:
    """How a form shows one of peft's fields; type and default are peft's unless ``choices`` or ``default`` say else."""

    name: str
    label: str
    help: str
    lo: float | None = None
    hi: float | None = None
    choices: tuple[Any, ...] = ()
    advanced: bool = True
    required: bool = False
    seed: bool = False  # empty takes the run's seed


@dataclasses.dataclass(frozen=True)
class Tuner:
    """One of peft's tuners in our words; ``size`` is the field that a budget sets, and how the count goes with it."""

    type: str
    title: str
    summary: str
    paper: str
    formula: str
    fields: tuple[Field, ...]
    rate: float
    size: str = ""
    order: str = "grows"  # grows | shrinks | divides
    limit: str = ""  # side | in | area | rows: what bounds the size at a site
    unit: str = ""  # a field of which the size is a multiple
    kind: str = "linear"
    where: str = LINEAR
    merges: bool = True
    identity: bool = True  # bit for bit
    conv1d: bool = False  # also on weights stored d_in first
    families: tuple[str, ...] = ()  # model kinds; empty for all
    left_out: tuple[str, ...] = ()
    twin: bool = False


def size(name: str, label: str, text: str, lo: float = 1, hi: float = 4096) -> Field:
    return Field(name, label, text, lo, hi, advanced=False)


def rank(text: str = "Rank of the update; parameters grow in proportion.") -> Field:
    return size("r", "Rank", text)


def alpha(name: str = "alpha", text: str = "The update is scaled by alpha / rank.") -> Field:
    return Field(name, "Alpha", text, 1, 65_536, advanced=False)


def scale(hi: float = 10_000, text: str = "Factor on the update.") -> Field:
    return Field("scaling", "Scale", text, 0.001, hi, advanced=False)


def dropout(name: str, text: str = "Share of inputs zeroed on the way in.") -> Field:
    return Field(name, "Dropout", text, 0, 0.95)


def seed(name: str) -> Field:
    return Field(name, "Seed", "Seed of the fixed random part; empty takes the run's.", 0, 2**31 - 1, seed=True)


def flag(name: str, label: str, text: str) -> Field:
    return Field(name, label, text)


def choice(name: str, label: str, text: str, *choices: Any, advanced: bool = True) -> Field:
    return Field(name, label, text, choices=choices, advanced=advanced)


NEUMANN = (
    flag("use_cayley_neumann", "Neumann series", "Approximate the Cayley transform by a series; faster."),
    Field("num_cayley_neumann_terms", "Series terms", "Terms of the Neumann series.", 1, 64),
)
MODULE_DROPOUT = dropout("module_dropout", "Chance that a module's update is left out of a step.")
RANK_DROPOUT = dropout("rank_dropout", "Share of rank directions left out of a step.")
FREQUENCIES = size("n_frequency", "Coefficients", "Trained coefficients per weight matrix.", hi=10_000_000)
D_INITIAL = Field("d_initial", "Start of d", "Starting value of the scale on the rank.", 0.0001, 10)

TUNERS = (
    Tuner(
        "BEFT", "BEFT", "Trains one bias vector per weight matrix and nothing else.",
        "BEFT: Bias-Efficient Fine-Tuning of Language Models, 2025, arXiv 2509.15974", "y = W x + b + Δb", (), 5e-3,
        left_out=("init_weights",),
    ),
    Tuner(
        "BOFT", "BOFT", "Turns the weight's input space by block-diagonal rotations and scales its rows.",
        "Liu et al., Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization, 2023, arXiv 2311.06243",
        "W' = diag(s) W R,  R block-diagonal and orthogonal",
        (size("boft_block_size", "Block size", "Side of a rotation block; must divide the input width.", 2),
         dropout("boft_dropout", "Share of blocks replaced by the identity in a step.")),
        1e-3, size="boft_block_size", order="divides",
        # another butterfly factor needs a compiler at run time, and falls back to 1 where there is none
        left_out=("init_weights", "boft_block_num", "boft_n_butterfly_factor"),
    ),
    Tuner(
        "C3A", "C3A", "Adds a block-circulant matrix, applied by fast Fourier transforms.",
        "Chen et al., Parameter-Efficient Fine-Tuning via Circular Convolution, 2024, arXiv 2407.19342",
        "y = W x + C x,  C made of circulant blocks",
        (size("block_size", "Block size", "Must divide both widths; larger trains fewer.", 1, 65_536),
         choice("init_weights", "Start", "How kernels are drawn.", "xavier_uniform", "kaiming_uniform", "gaussian")),
        1e-2, size="block_size", order="divides", identity=False,
    ),
    Tuner(
        "DEFT", "DEFT", "Removes a learned subspace from the weight's output and injects new knowledge into it.",
        "DEFT: Decompositional Efficient Fine-Tuning, as implemented in peft",
        "W' = (I − P̂) W + P R,  P̂ the projector made of P",
        (rank(),
         choice("decomposition_method", "Projector", "relu is not orthogonal, qr is.", "relu", "qr"),
         Field("init_scale", "Start scale", "Factor on the deviation that R starts with.", 0.001, 100),
         Field("alpha", "Alpha", "The injection is scaled by alpha / rank; empty leaves it.", 1, 65_536),
         flag("para", "Only remove", "Train P alone, without an injection; does not start as the base model."),
         dropout("deft_dropout")),
        5e-4, size="r", identity=False, conv1d=True, left_out=("init_weights",),
    ),
    Tuner(
        "DELORA", "DeLoRA", "A low-rank update with normalised factors and a learned bound on its size.",
        "Bini et al., DeLoRA: Decoupling Angles and Strength in Low-rank Adaptation, 2025, arXiv 2503.18225",
        "W' = W + (λ ‖W‖ / r) B Ξ A,  Ξ normalising each direction",
        (rank(),
         Field("delora_lambda", "Bound", "Starting bound on the norm of the change.", 1, 1000, advanced=False),
         MODULE_DROPOUT),
        1e-3, size="r", left_out=("init_weights",),
    ),
    Tuner(
        "FOURIERFT", "FourierFT", "Trains a few entries of the update's two-dimensional Fourier spectrum.",
        "Gao et al., Parameter-Efficient Fine-Tuning with Discrete Fourier Transform, 2024, arXiv 2405.03003",
        "W' = W + α · Re IDFT₂(F),  F with n trained entries",
        (FREQUENCIES, scale(), seed("random_loc_seed")),
        1e-2, size="n_frequency", limit="area", identity=False, conv1d=True, left_out=("init_weights",),
    ),
    Tuner(
        "FROD", "FRoD", "Decomposes like layers jointly; trains each one's scales and a sparse turn between them.",
        "FRoD, AAAI 2026, doi 10.1609/aaai.v40i31.39813", "W' = U (diag(λ) + S) Vᵀ,  V shared by like layers, S sparse",
        (Field("sparse_rate", "Sparse share", "Share of off-diagonal entries trained.", 0, 1, advanced=False),
         Field("regularization_alpha", "Ridge", "Stabilises the joint decomposition.", 0.000001, 1),
         dropout("frod_dropout"), seed("projection_prng_key")),
        1e-3, identity=False, conv1d=True, left_out=("init_weights",),
    ),
    Tuner(
        "GLORA", "GLoRA", "Scales and shifts weight and bias, each through a low-rank, vector or scalar support.",
        "Chavan et al., One-for-All: Generalized LoRA for Parameter-Efficient Fine-tuning, 2023, arXiv 2306.07967",
        "W' = W + W ∘ A + B,  b' = b + b ∘ D + E + W C",
        (rank("Rank of the low-rank supports."),
         choice("config_A_B", "Weight support", "Form of A and B.", "lora", "vector", "constant", "none",
                advanced=False),
         choice("config_C", "Coupling support", "Form of C; needs a bias.", "lora", "vector", "none"),
         choice("config_D_E", "Bias support", "Form of D and E; needs a bias.", "vector", "constant", "none")),
        5e-4, size="r", left_out=("init_weights",),
    ),
    Tuner(
        "GRALORA", "GraLoRA", "Splits the weight into k × k blocks with a low-rank update each.",
        "Jung et al., GraLoRA: Granular Low-Rank Adaptation, 2025, arXiv 2505.20355",
        "block (i, j) of ΔW = (α / r) B_ij A_ij",
        (size("r", "Rank", "Total rank; a multiple of the blocks per side."),
         alpha(),
         Field("gralora_k", "Blocks per side", "Must divide both widths and the rank.", 1, 64, advanced=False),
         Field("hybrid_r", "Plain rank", "Rank of a LoRA added to the blocks.", 0, 4096),
         dropout("gralora_dropout")),
        2e-4, size="r", unit="gralora_k", conv1d=True, left_out=("init_weights",),
    ),
    Tuner(
        "HRA", "HRA", "Multiplies the weight by a chain of Householder reflections.",
        "Yuan et al., Bridging LoRA and Orthogonal Adaptation via Householder Reflection, 2024, arXiv 2405.17484",
        "W' = W · ∏ (I − 2 u uᵀ / ‖u‖²)",
        (size("r", "Reflections", "Reflections in the chain; an even number starts as the base model."),
         flag("apply_GS", "Orthogonal", "Make the reflections orthogonal to each other.")),
        1e-3, size="r", limit="in", unit="2", identity=False, left_out=("init_weights",),
    ),
    Tuner(
        "MISS", "MiSS", "Shares one row of shards over the whole weight; no second factor.",
        "Kang and Yin, MiSS: Revisiting the Trade-off in LoRA with an Efficient Shard-Sharing Structure, 2024, arXiv "
        "2409.15371", "W' = W + expand(D),  D of r rows repeated over the inputs",
        (rank("Rows of the shared shard; parameters grow in proportion."),
         choice("init_weights", "Form", "Balanced, bat (through the weight), mini (smaller).", True, "bat", "mini"),
         Field("mini_r", "Columns of mini", "Columns of the shard in the mini form.", 1, 65_536),
         dropout("miss_dropout")),
        5e-4, size="r", limit="in",
    ),
    Tuner(
        "OFT", "OFT", "Turns the weight's input space by block-diagonal rotations.",
        "Qiu et al., Controlling Text-to-Image Diffusion by Orthogonal Finetuning, 2023, arXiv 2306.07280",
        "W' = W R,  R block-diagonal and orthogonal (Cayley)",
        (size("oft_block_size", "Block size", "Side of a rotation block; must divide the input width.", 2),
         flag("block_share", "One block", "Use the same rotation in every block."),
         flag("coft", "Bounded", "Keep the rotation near the identity."),
         Field("eps", "Bound", "How far a bounded rotation may go.", 0, 1),
         MODULE_DROPOUT, *NEUMANN),
        1e-3, size="oft_block_size", order="divides", left_out=("init_weights", "r"),
    ),
    Tuner(
        "OSF", "OSF", "Trains the small singular directions of the weight; the large ones stay fixed.",
        "Nayak et al., Sculpting Subspaces: Constrained Full Fine-Tuning in LLMs for Continual Learning, 2025, arXiv "
        "2504.07097", "W' = U_high S_high V_highᵀ + U_low S_low V_lowᵀ,  the low part trained",
        (Field("effective_rank", "Fixed rank", "Singular directions kept; empty keeps half.", 1, 65_536,
               advanced=False),),
        1e-4, identity=False, left_out=("init_weights",),
    ),
    Tuner(
        "PEANUT", "PEANuT", "A small network reads the weight itself and puts out the update.",
        "Zhong et al., PEANuT: Adaptation with Weight-aware Neural Tweakers, 2024, arXiv 2410.01870",
        "W' = W + s · f(Wᵀ Aᵀ) Bᵀ,  f with hidden layers",
        (rank("Width of the hidden layers; parameters grow in proportion."),
         size("depth", "Depth", "Hidden layers on each side.", 0, 16),
         choice("act_fn", "Activation", "Between the layers.", "relu", "gelu", "silu", "tanh"),
         scale(100)),
        1e-3, size="r", left_out=("init_weights",),
    ),
    Tuner(
        "PSOFT", "PSOFT", "An orthogonal turn inside the weight's principal subspace, with learned scales.",
        "PSOFT: Orthogonal fine-tuning in the principal subspace, OpenReview FSHrinMArK",
        "W' = W + B (diag(β) R diag(α) − I) A,  B A the leading part of W",
        (rank("Dimension of the subspace."),
         Field("psoft_alpha", "Alpha", "Scale of the path, as alpha / rank.", 1, 65_536, advanced=False),
         choice("ab_svd_init", "Start", "How the subspace is split into A and B.", "psoft_init", "pissa_init"),
         choice("psoft_svd", "Decomposition", "lowrank is faster on large weights.", "full", "lowrank"),
         Field("psoft_svd_lowrank_niter", "Power iterations", "Of the lowrank decomposition.", 1, 100),
         flag("psoft_orth", "Orthogonal", "Keep R orthogonal; else it is free."),
         flag("psoft_mag_b", "Scale outputs", "Learn a scale after R."),
         flag("psoft_mag_a", "Scale inputs", "Learn a scale before R."),
         *NEUMANN,
         Field("cayley_neumann_eps", "Series bound", "Norm bound of the series; empty sets none.", 0.01, 0.99),
         dropout("psoft_dropout"), seed("random_seed")),
        1e-3, size="r", limit="side", left_out=("init_weights",),
    ),
    Tuner(
        "PVERA", "PVeRA", "VeRA with a learned distribution over the scales, drawn anew at every step.",
        "PVeRA: Probabilistic Vector-based Random matrix Adaptation, 2025, arXiv 2512.07703",
        "y = W x + b ∘ B z,  z ~ N(μ(x), σ(x)²), A and B fixed and shared",
        (rank("Dimension of the shared random bases."), D_INITIAL,
         flag("sample_at_inference", "Sample at inference", "Draw at inference too; else the mean is used."),
         dropout("pvera_dropout"), seed("projection_prng_key")),
        4e-3, size="r", conv1d=True, left_out=("init_weights", "generator_seed"),
    ),
    Tuner(
        "RANDLORA", "RandLoRA", "A full-rank update as a sum of scaled random low-rank bases.",
        "Albert et al., RandLoRA: Full-rank parameter-efficient fine-tuning of large models, 2025, arXiv 2502.00987",
        "W' = W + s Σ_i B_i diag(λ_i) A diag(γ_i),  A and B fixed and shared",
        (size("r", "Basis rank", "Rank of each random basis; larger trains fewer."),
         alpha("randlora_alpha", "The update is scaled by alpha / rank."),
         flag("sparse", "Sparse bases", "Ternary random bases."),
         flag("very_sparse", "Very sparse bases", "Ternary bases with even fewer entries."),
         dropout("randlora_dropout"), seed("projection_prng_key")),
        1e-4, size="r", order="shrinks", limit="side", conv1d=True, left_out=("init_weights",),
    ),
    Tuner(
        "ROAD", "RoAd", "Rotates pairs of a layer's outputs and scales them.",
        "Liao and Monz, 3-in-1: 2D Rotary Adaptation for Efficient Finetuning, Efficient Batching and Composability, "
        "2024, arXiv 2409.00119", "y' = R (W x),  R turning pairs of outputs",
        (choice("variant", "Variant", "Angles per pair: one, two or four.", "road_1", "road_2", "road_4",
                advanced=False),
         Field("group_size", "Group size", "Outputs are paired within groups; must divide their width.", 2, 65_536)),
        5e-3, left_out=("init_weights",),
    ),
    Tuner(
        "SHIRA", "SHiRA", "Trains a random sparse set of the weight's own entries, as many as a LoRA would.",
        "Bhardwaj et al., Sparse High Rank Adapters, 2024, arXiv 2406.13175", "W' = W + S,  S with r (m + n) entries",
        (rank("Entries as many as a LoRA of this rank."),
         choice("mask_type", "Mask", "How the entries are chosen.", "random"), seed("random_seed")),
        1e-3, size="r", limit="rows", left_out=("init_weights",),
    ),
    Tuner(
        "SUPERTUNING", "Supertuning", "Trains the entries of largest magnitude, optionally with a LoRA beside them.",
        "Supertuning, 2026, arXiv 2607.09287", "W' = W + S + (α / r) B A,  S on the largest entries",
        (Field("sparsity", "Sparsity", "Share of entries that stay fixed.", 0, 0.999999, advanced=False),
         flag("select_top", "Largest entries", "Train the largest entries; else the smallest."),
         Field("r", "LoRA rank", "Rank of a LoRA beside the entries; empty adds none.", 1, 4096),
         Field("lora_alpha", "LoRA alpha", "Scale of that LoRA; empty takes twice its rank.", 0.01, 65_536),
         dropout("lora_dropout")),
        1e-3, left_out=("init_weights",),
    ),
    Tuner(
        "TINYLORA", "TinyLoRA", "Trains a handful of numbers that mix fixed matrices in the leading singular subspace.",
        "Learning to Reason in 13 Parameters, 2026, arXiv 2602.04118",
        "W' = W + U S (Σ_i v_i P_i) Vᵀ,  only v trained",
        (size("u", "Numbers", "Trained numbers per group of layers.", hi=1_000_000),
         Field("r", "Subspace rank", "Singular directions that are mixed.", 1, 256, advanced=False),
         Field("weight_tying", "Tying", "0: every layer its own numbers; 1: one set for all.", 0, 1),
         choice("init_weights", "Start", "Zero, or uniform.", True, "uniform"),
         Field("init_v_bound", "Start bound", "Bound of a uniform start.", 0, 10),
         dropout("tinylora_dropout"), seed("projection_seed")),
        5e-3, size="u", conv1d=True,
    ),
    Tuner(
        "TRAINABLE_TOKENS", "Trainable tokens", "Trains the embeddings of chosen tokens alone.",
        "Chosen rows of the embedding, as implemented in peft", "E'[t] = E[t] + Δ[t] for chosen t",
        (Field("token_indices", "Token ids", "Tokens whose embeddings are trained.", advanced=False, required=True),),
        1e-3, kind="embedding", where="role == embed", left_out=("init_weights",), families=("decoder", "encoder"),
    ),
    Tuner(
        "UNILORA", "Uni-LoRA", "One trained vector, spread over the factors of every layer's LoRA.",
        "Li et al., Uni-LoRA: One Vector is All You Need, 2025, arXiv 2506.00799",
        "θ_LoRA = P θ,  P a fixed random projection of unit columns",
        (size("theta_d_length", "Vector length", "Trained numbers in all.", hi=100_000_000),
         Field("r", "Rank", "Rank of every layer's update; costs nothing.", 1, 1024, advanced=False),
         Field("init_theta_d_bound", "Start bound", "Bound of the vector's uniform start.", 0, 10),
         dropout("unilora_dropout"), seed("proj_seed")),
        5e-3, size="theta_d_length", identity=False, conv1d=True, left_out=("init_weights",),
    ),
    Tuner(
        "VBLORA", "VB-LoRA", "Every factor is mixed from a bank of vectors that all layers share.",
        "Li et al., VB-LoRA: Extreme Parameter Efficient Fine-Tuning with Vector Banks, 2024, arXiv 2405.15179",
        "each part of A and B = Σ top-k softmax(logits) · bank",
        (Field("r", "Rank", "Rank of the update.", 1, 1024, advanced=False),
         size("num_vectors", "Vectors", "Vectors in the shared bank.", 2, 1_000_000),
         size("vector_length", "Vector length", "Must divide both widths of every weight.", 1, 65_536),
         Field("topk", "Mixed vectors", "Vectors mixed into each part.", 1, 64),
         Field("init_vector_bank_bound", "Start of the bank", "Bound of its uniform start.", 0.000001, 10),
         Field("init_logits_std", "Start of the logits", "Deviation of their normal start.", 0, 10),
         dropout("vblora_dropout")),
        5e-3, size="num_vectors", identity=False, conv1d=True,
    ),
    Tuner(
        "WAVEFT", "WaveFT", "Trains a few wavelet coefficients of the update.",
        "Bilican et al., Exploring Sparsity for Parameter Efficient Fine Tuning Using Wavelets, 2025, arXiv 2505.12532",
        "W' = W + λ · IDWT₂(C),  C with n trained entries",
        (FREQUENCIES, scale(),
         choice("wavelet_family", "Wavelet", "db1 is Haar's.", "db1", "db2", "sym2", "coif1"),
         flag("use_idwt", "Transform back", "Else the coefficients are entries of the update."),
         seed("random_loc_seed")),
        1e-3, size="n_frequency", limit="area", conv1d=True, left_out=("init_weights", "proportional_parameters"),
    ),
    Tuner(
        "HIRA", "HiRA", "Multiplies the weight elementwise by a low-rank matrix.",
        "Huang et al., HiRA: Parameter-Efficient Hadamard High-Rank Adaptation for Large Language Models, ICLR 2025",
        "W' = W + W ∘ (B A)", (rank(), dropout("hira_dropout")),
        2e-3, size="r", conv1d=True, left_out=("init_weights",), twin=True,
    ),
    Tuner(
        "IA3", "(IA)³", "Scales keys, values and the feed-forward's inner activations.",
        "Liu et al., Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning, 2022, "
        "arXiv 2205.05638", "y = l ∘ W x, or W (l ∘ x) at the feed-forward's last map", (),
        5e-3, where="role in (k, v, qkv, down, fc2)", conv1d=True, twin=True,
    ),
    Tuner(
        "LOHA", "LoHa", "The elementwise product of two low-rank updates.",
        "Hyeon-Woo et al., FedPara, 2021, arXiv 2108.06098", "W' = W + (α / r) (B₁ A₁) ∘ (B₂ A₂)",
        (rank(), alpha(), RANK_DROPOUT, MODULE_DROPOUT),
        1e-3, size="r", left_out=("init_weights", "use_effective_conv2d"), twin=True,
    ),
    Tuner(
        "LOKR", "LoKr", "The Kronecker product of a small matrix and a larger, possibly low-rank one.",
        "Yeh et al., Navigating Text-To-Image Customization: LyCORIS, 2023, arXiv 2309.14859",
        "W' = W + (α / r) W₁ ⊗ W₂",
        (rank("Rank of the larger factor, while that is smaller than the factor itself."), alpha(),
         flag("decompose_both", "Split both", "Make the small factor low-rank too."),
         Field("decompose_factor", "Factor", "Side of the small matrix; -1 seeks the square.", -1, 4096),
         choice("init_weights", "Start", "Zero update, or as LyCORIS starts.", True, "lycoris"),
         RANK_DROPOUT, flag("rank_dropout_scale", "Rescale", "Make up for dropped ranks."), MODULE_DROPOUT),
        1e-3, size="r", left_out=("use_effective_conv2d",), twin=True,
    ),
    Tuner(
        "VERA", "VeRA", "Trains two scale vectors around shared random bases.",
        "Kopiczko et al., VeRA: Vector-based Random Matrix Adaptation, 2023, arXiv 2310.11454",
        "y = W x + b ∘ B (d ∘ A x),  A and B fixed and shared",
        (rank("Dimension of the shared random bases."), D_INITIAL, dropout("vera_dropout"),
         seed("projection_prng_key")),
        4e-3, size="r", conv1d=True, left_out=("init_weights",), twin=True,
    ),
)  # fmt: skip


def make_table() -> dict[str, Any]:
    """The table's content from the installed peft.

    Raises:
        SystemExit: peft has a field that is neither offered nor left out, or the other way round.
    """
    return {"peft": importlib.metadata.version("peft"), "methods": [_method(tuner) for tuner in TUNERS]}


def _method(tuner: Tuner) -> dict[str, Any]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING
    from peft.utils.peft_types import PeftType

    config = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(tuner.type)]
    theirs = {field.name: field for field in dataclasses.fields(config)}
    ours = {field.name for field in tuner.fields}
    undecided = theirs.keys() - OWNED - ours - set(tuner.left_out)
    unknown = (ours | set(tuner.left_out)) - theirs.keys()
    if undecided or unknown:
        raise SystemExit(f"{tuner.type}: undecided {sorted(undecided)}, unknown {sorted(unknown)}")
    types_ = typing.get_type_hints(config)
    return {
        "id": f"peft-{tuner.type.lower().replace('_', '-')}",
        "type": tuner.type,
        "prefix": PEFT_TYPE_TO_PREFIX_MAPPING[PeftType(tuner.type)],
        "title": f"{tuner.title} (peft)",
        "summary": tuner.summary + (" peft's own version, to compare with the studio's." if tuner.twin else ""),
        "paper": tuner.paper,
        "formula": tuner.formula,
        "kind": tuner.kind,
        "where": tuner.where,
        "mergeable": tuner.merges,
        "identity_at_init": tuner.identity,
        "families": list(tuner.families),
        "learning_rate": tuner.rate,
        "conv1d": tuner.conv1d,
        "oriented": "fan_in_fan_out" in theirs,
        "size": {"field": tuner.size, "order": tuner.order, "limit": tuner.limit, "unit": tuner.unit}
        if tuner.size
        else None,
        "unoffered": {name: _default(theirs[name]) for name in sorted(theirs.keys() & (BINDING | set(tuner.left_out)))},
        "params": [_param(field, theirs[field.name], types_[field.name]) for field in tuner.fields],
    }


def _default(theirs: "dataclasses.Field[Any]") -> Any:
    return theirs.default if theirs.default_factory is dataclasses.MISSING else theirs.default_factory()


def _param(field: Field, theirs: "dataclasses.Field[Any]", type_: Any) -> dict[str, Any]:
    union = isinstance(type_, types.UnionType) or typing.get_origin(type_) is typing.Union
    parts = typing.get_args(type_) if union else (type_,)
    nullable = type(None) in parts or field.seed
    default = None if field.seed or field.required else theirs.default
    made = {
        "name": field.name,
        "type": "choice" if field.choices else _type_name(parts),
        "nullable": nullable,
        "required": field.required,
        "seed": field.seed,
        "default": getattr(default, "value", default),
        "lo": field.lo,
        "hi": field.hi,
        "choices": list(field.choices),
        "label": field.label,
        "help": field.help,
        "advanced": field.advanced,
    }
    return {
        key: value
        for key, value in made.items()
        if key == "default" or (value not in (None, []) and value is not False)
    }


def _type_name(parts: tuple[Any, ...]) -> str:
    """The first of peft's types that a form can show."""
    for part in parts:
        if part in (bool, int, float):
            return str(part.__name__)
    return "ints"


def main() -> None:
    TABLE.write_text(json.dumps(make_table(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(TUNERS)} methods in {TABLE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
