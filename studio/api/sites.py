"""Sites, declared parameters and traits: the vocabulary in which every PET method is written."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal["linear", "conv", "embedding", "norm", "attention", "ffn", "block", "model"]
TensorRole = Literal["trained", "fixed", "state", "seeded"]
Kept = Literal["weight", "change"]
DType = Literal["float32", "int64", "int32", "bool"]
BYTES: dict[DType, int] = {"float32": 4, "int64": 8, "int32": 4, "bool": 1}


@dataclass(frozen=True)
class Site:
    """One place in a base model, known from its config and weight header alone.

    ``path`` is the module path below the model's backbone ("layers.0.self_attn.q_proj"); ``role`` says what
    the module does (q, k, v, o, gate, up, down, fc1, fc2, norm1, norm2, norm, embed, head, pooler, …), never
    how it is called. ``shape`` is the stored weight's; ``d_in`` and ``d_out`` are those of the map x -> y,
    whichever way round the weight is stored (``transposed``: d_in x d_out, as in GPT-2's Conv1D).

    Containers (kinds attention, ffn, block, model) have no weight of their own, shape () and the hidden width as
    d_in and d_out; ``d_kv`` of an attention is the width of its keys (kv heads x head size), 0 where none can be
    put before them. ``copies`` above 1: that many maps of the same size in one tensor (the experts of a mixture),
    whose path is the tensor's own; what a method declares for one map the host makes for each. ``channel_axis``: the
    axis of the output that d_out counts; 1 where channels come before the places of an image or a sound, else the
    last.
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
    copies: int = 1
    d_kv: int = 0
    channel_axis: int = -1


@dataclass(frozen=True)
class ParamDecl:
    """One tensor at a site, declared by the plugin and allocated by the host.

    ``init``: zeros, ones, normal:STD, kaiming (uniform, a = sqrt 5, over the last dimension as fan-in),
    uniform:BOUND, constant:VALUE, eye (last two dimensions) or signs (plus or minus one). ``base``: "weight" or
    "bias" if this *is* that base tensor, trained in place (``init`` is then the base value). ``share``: sites that
    declare the same share name have one tensor. ``lr_mult`` multiplies the learning rate; ``decay`` says whether
    weight decay applies.

    ``role``: "trained" tensors are the parameters that are counted; "fixed" ones (an index, a mask) are saved with
    them; "state" (an average, a score) goes into checkpoints only; "seeded" ones are drawn from the run's seed and
    saved nowhere. Only trained tensors must be float32.
    """

    name: str
    shape: tuple[int, ...]
    init: str = "zeros"
    base: Literal["weight", "bias"] | None = None
    share: str | None = None
    decay: bool = True
    lr_mult: float = 1.0
    role: TensorRole = "trained"
    dtype: DType = "float32"

    @cached_property
    def size(self) -> int:
        """Scalars of the tensor."""
        return math.prod(self.shape)

    @cached_property
    def count(self) -> int:
        """Trainable scalars of the tensor."""
        return self.size if self.role == "trained" else 0

    @property
    def file_bytes(self) -> int:
        """What the tensor adds to a saved adapter."""
        return self.size * BYTES[self.dtype] if self.role in ("trained", "fixed") else 0


@dataclass(frozen=True)
class Traits:
    """What is true of a method, so that the host can offer and refuse the right things.

    ``kinds``: site kinds it can sit on. ``where``: the placement a spec that names none gets.
    ``learning_rate``: the host's choice for ``auto``. ``export``: how its tensors are written for other
    loaders ("lora": they are exact LoRA factors; "base": changed base tensors; None: the studio's own format).

    ``reads``: an expression for the sites whose outputs its forwards read through the context. ``packs``: whether
    rows may be packed into one sequence. ``quantizes``: whether the matrices below may be held in 8 or 4 bits.
    ``backbone_grad``: False if nothing needs a gradient through the base
    model, which then runs without one. ``calibrates``: its ``setup`` asks for gradients on training rows.
    ``families``: model kinds ("decoder", "encoder", ...) it works on; empty means all.

    ``edits``: None for a method with a forward. One that only merges changes the weight at each pass: this names what
    its ``merge`` keeps for the backward pass of the weight's size, the given "weight" or a "change" made of its
    tensors, each as often as it is kept; () when it keeps nothing so large. Memory is estimated from it.
    """

    kinds: tuple[Kind, ...] = ("linear",)
    where: str = "kind == linear and layer >= 0"
    mergeable: bool = False
    identity_at_init: bool = True
    trains_base: bool = False
    learning_rate: float = 2e-4
    export: Literal["lora", "base"] | None = None
    reads: str | None = None
    packs: bool = True
    quantizes: bool = True
    backbone_grad: bool = True
    calibrates: bool = False
    families: tuple[str, ...] = ()
    edits: tuple[Kept, ...] | None = None

    def takes(self, site: Site) -> bool:
        """Whether the method can sit at a site.

        On experts only by its merged weights; not on blocks and models that hand on feature maps, channels first.
        """
        flat = site.channel_axis == -1 or site.kind in ("conv", "norm")
        return site.kind in self.kinds and flat and (site.copies == 1 or self.mergeable)
