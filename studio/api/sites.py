"""Sites, declared parameters and traits: the vocabulary in which every PET method is written."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["linear", "conv", "embedding", "norm", "attention", "block", "model"]


@dataclass(frozen=True)
class Site:
    """One place in a base model, known from its config and weight header alone.

    ``path`` is the module path below the model's backbone ("layers.0.self_attn.q_proj"); ``role`` says what
    the module does (q, k, v, o, gate, up, down, fc1, fc2, norm1, norm2, norm, embed, head, pooler, …), never
    how it is called. ``shape`` is the stored weight's; ``d_in`` and ``d_out`` are those of the map x -> y,
    whichever way round the weight is stored (``transposed``: d_in x d_out, as in GPT-2's Conv1D).
    """

    path: str
    kind: Kind
    role: str
    layer: int | None
    d_in: int
    d_out: int
    shape: tuple[int, ...]
    has_bias: bool
    transposed: bool = False
    tied_to: str | None = None  # the path of the site that owns the same tensor


@dataclass(frozen=True)
class ParamDecl:
    """One trainable tensor at a site, declared by the plugin and allocated by the host.

    ``init``: zeros, ones, normal:STD, kaiming (uniform, a = sqrt 5, over the last dimension as fan-in) or
    uniform:BOUND. ``base``: "weight" or "bias" if this *is* that base tensor, trained in place (``init`` is
    then the base value). ``share``: sites that declare the same share name train one tensor.
    ``lr_mult`` multiplies the learning rate; ``decay`` says whether weight decay applies.
    """

    name: str
    shape: tuple[int, ...]
    init: str = "zeros"
    base: Literal["weight", "bias"] | None = None
    share: str | None = None
    decay: bool = True
    lr_mult: float = 1.0

    @property
    def count(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total


@dataclass(frozen=True)
class Traits:
    """What is true of a method, so that the host can offer and refuse the right things.

    ``kinds``: site kinds it can sit on. ``where``: the placement a spec that names none gets.
    ``learning_rate``: the host's choice for ``auto``. ``export``: how its tensors are written for other
    loaders ("lora": they are exact LoRA factors; "base": changed base tensors; None: the studio's own format).
    """

    kinds: tuple[Kind, ...] = ("linear",)
    where: str = "kind == linear and layer >= 0"
    mergeable: bool = False
    identity_at_init: bool = True
    trains_base: bool = False
    learning_rate: float = 2e-4
    export: Literal["lora", "base"] | None = None
