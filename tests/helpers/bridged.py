"""Parameters with which peft's methods fit the tiny models, whose widths are 32 and 64."""

from typing import Any

PARAMS: dict[str, dict[str, Any]] = {
    "peft-boft": {"boft_block_size": 4},
    "peft-c3a": {"block_size": 8},
    "peft-fourierft": {"n_frequency": 24, "scaling": 30.0},  # its own 150 makes T5's answers a matter of rounding
    "peft-frod": {"sparse_rate": 0.05},
    "peft-gralora": {"r": 4, "alpha": 8},
    "peft-miss": {"r": 4},
    "peft-oft": {"oft_block_size": 8},
    "peft-peanut": {"r": 4, "depth": 1},
    "peft-psoft": {"r": 8, "psoft_alpha": 8},
    "peft-pvera": {"r": 16},
    "peft-randlora": {"r": 4, "randlora_alpha": 8},
    "peft-road": {"group_size": 8},
    "peft-shira": {"r": 2},
    "peft-supertuning": {"sparsity": 0.9},
    "peft-tinylora": {"u": 16},
    "peft-trainable-tokens": {"token_indices": [5, 9, 12, 20]},
    "peft-unilora": {"theta_d_length": 64},
    "peft-vblora": {"vector_length": 8, "num_vectors": 8},
    "peft-vera": {"r": 16},
    "peft-waveft": {"n_frequency": 24},
}
