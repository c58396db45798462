"""What a method plugin's two modules provide; nothing has to be inherited or registered.

``params.py`` (no torch) declares: ``Params``, ``traits``, ``declare`` (or ``declare_over`` where one site's share
depends on the others) and optionally ``fit`` and ``extra_tokens``. ``method.py`` (torch) computes, by whichever of
these functions the method needs: ``forward``, ``merge``, ``prompt``, ``prefix``, ``setup``, ``on_step``,
``extra_loss``, ``metrics``, ``low_rank``, ``lora_factors``. A method whose declarations all name base tensors needs no
``method.py``: the host trains those tensors in place. A method with ``merge`` and no ``forward`` runs its sites with
the merged weight, which is built anew in every pass.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from studio.api.params import Params
from studio.api.sites import ParamDecl, Site, Traits

if TYPE_CHECKING:
    from torch import Generator, Tensor


class MethodParams(Protocol):
    """The module ``params.py`` of a method."""

    Params: type[Params]
    traits: Traits

    def declare(self, params: Any, site: Site) -> Sequence[ParamDecl]:
        """The tensors at ``site``; an empty sequence leaves the site alone.

        Pure arithmetic: the host counts, sizes files and allocates from this alone.
        """
        ...


@runtime_checkable
class DeclaresOver(Protocol):
    """A method that chooses among its sites; stands in place of ``declare``."""

    def declare_over(self, params: Any, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
        """The tensors at each site, by its path; sites left out are left alone."""
        ...


@runtime_checkable
class Fits(Protocol):
    """A method that can be sized to a budget."""

    def fit(self, params: Any, sites: Sequence[Site], budget: int) -> Any:
        """The largest parameters whose declarations over ``sites`` count at most ``budget`` scalars.

        Raises:
            ValueError: even the smallest size exceeds the budget; the message says the smallest count.
        """
        ...


@runtime_checkable
class AddsTokens(Protocol):
    """A method that lengthens every sequence by virtual tokens."""

    def extra_tokens(self, params: Any) -> int:
        """How many tokens every sequence grows by inside the model."""
        ...


@dataclass(frozen=True)
class Tokens:
    """The batch that a forward pass runs on.

    ``mask`` (B, S): True where there is a token, False on padding. ``positions`` (B, S): the place of each token in
    its own sequence, from 0, also where rows are packed. ``prompt`` (B, S): True on tokens that carry no loss.
    ``lengths`` (B, S): how many tokens the sequence of each token has. ``causal``: whether the model lets a token see
    only those before it.
    """

    mask: "Tensor"
    positions: "Tensor"
    prompt: "Tensor"
    lengths: "Tensor"
    causal: bool = False


@dataclass(frozen=True)
class Context:
    """What the host tells a forward besides tensors.

    ``training``: whether dropout and other noise apply. ``weight()``: the base weight in the compute
    precision, (d_out, d_in) whichever way round the model stores it; ``bias()``: the base bias or None.
    ``outputs``: of the sites that ``traits.reads`` selects, by path, as far as the pass has come, in order.
    ``memory``: what the placement's forwards leave each other within one pass. ``tokens``: the batch, None where
    the host runs the model on something else than token rows.
    """

    training: bool
    weight: "Callable[[], Tensor]"
    bias: "Callable[[], Tensor | None]"
    outputs: "Mapping[str, Tensor]" = field(default_factory=dict)
    memory: MutableMapping[Any, Any] = field(default_factory=dict)
    tokens: Tokens | None = None


class LowRank(NamedTuple):
    """A change of a map as factors: y + scale * B A dropout(x). ``a`` (r, d_in) and ``b`` (d_out, r): fp32 masters."""

    a: "Tensor"
    b: "Tensor"
    scale: float = 1.0
    dropout: float = 0.0


@dataclass(frozen=True)
class Place:
    """A site with its tensors, for functions that see the whole placement.

    ``weight()``: the base weight in fp32, (d_out, d_in, ...); a copy. ``bias()``: likewise, or None.
    """

    site: Site
    tensors: "Mapping[str, Tensor]"
    weight: "Callable[[], Tensor]"
    bias: "Callable[[], Tensor | None]"


@dataclass(frozen=True)
class Setup:
    """What ``setup`` may use besides its places.

    ``generator``: seeded, on the CPU. ``gradients()``: by site path, the sums over training rows of the gradient of
    the base weight and of its square, fp32, (d_out, d_in, ...); needs ``traits.calibrates``; ``token_embedding(ids)``
    and ``encode(text)``: the base model's input embeddings of token ids, and the ids of a text.
    """

    generator: "Generator"
    gradients: "Callable[[], Mapping[str, tuple[Tensor, Tensor]]]"
    token_embedding: "Callable[[Sequence[int]], Tensor]"
    encode: Callable[[str], list[int]]


@dataclass(frozen=True)
class Step:
    """Where training stands: ``step`` counts from 1 to ``steps``; gradients are in the tensors' ``grad``."""

    step: int
    steps: int
    learning_rate: float


class Forward(Protocol):
    """Changes what a site puts out."""

    def forward(
        self, params: Any, site: Site, tensors: "Mapping[str, Tensor]", x: "Tensor", y: "Tensor", ctx: Context
    ) -> "Tensor":
        """The site's new output.

        Args:
            params: the plugin's ``Params``.
            tensors: the declared tensors by name, fp32 masters; cast them to ``x.dtype``, not ``x`` to theirs.
            x: the site's input, (..., d_in); token ids at an embedding; equal to y at the model itself.
            y: the base module's output for ``x``, (..., d_out).
        """
        ...


class Merges(Protocol):
    """Folds a site's change into its base weight."""

    def merge(
        self,
        params: Any,
        site: Site,
        tensors: "Mapping[str, Tensor]",
        weight: "Tensor",
        bias: "Tensor | None",
    ) -> "tuple[Tensor, Tensor | None]":
        """The merged weight and bias, fp32 (d_out, d_in, ...) in and out, whichever way the model stores it.

        Differentiable in ``tensors`` where the method has no ``forward``.
        """
        ...


class Prompts(Protocol):
    """Puts virtual tokens before the input of the model (kind "model")."""

    def prompt(self, params: Any, site: Site, tensors: "Mapping[str, Tensor]", ctx: Context) -> "Tensor":
        """Embeddings (n, d_in) of the virtual tokens."""
        ...


class Factors(Protocol):
    """Says, besides ``forward``, that it only adds a product of two factors.

    The host then computes the linear map and its change in one where it can, which takes less time and memory.
    """

    def low_rank(self, params: Any, site: Site, tensors: "Mapping[str, Tensor]") -> LowRank | None:
        """The factors with which ``forward`` changes this site; None where it does something else."""
        ...


class Prefixes(Protocol):
    """Puts virtual keys and values before those of an attention (kind "attention")."""

    def prefix(
        self, params: Any, site: Site, tensors: "Mapping[str, Tensor]", ctx: Context
    ) -> "tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]":
        """Keys and values, each (n, d_kv); and a factor (B, S) of both for each query, where they have one."""
        ...


class SetsUp(Protocol):
    """Sets starting values that depend on the base model or the data."""

    def setup(self, params: Any, places: Sequence[Place], ctx: Setup) -> None:
        """Write into the places' tensors in place; called once, without gradients, not when a run resumes."""
        ...


class Steps(Protocol):
    """Acts between optimizer steps."""

    def on_step(self, params: Any, places: Sequence[Place], step: Step) -> None:
        """Change tensors in place after the optimizer has stepped and before gradients are cleared."""
        ...


class AddsLoss(Protocol):
    """Adds a term to the loss of every optimizer step."""

    def extra_loss(self, params: Any, places: Sequence[Place], step: Step) -> "Tensor | None":
        """A scalar, added once per optimizer step; None adds nothing."""
        ...


class Reports(Protocol):
    """Tells figures of its own while it trains."""

    def metrics(self, params: Any, places: Sequence[Place]) -> Mapping[str, float]:
        """Figures by name, as they stand after a step: a current rank, the share of a mask that is open."""
        ...


class ExportsLora(Protocol):
    """A method that is exactly LoRA-shaped: its tensors as LoRA factors."""

    def lora_factors(self, params: Any, site: Site, tensors: "Mapping[str, Tensor]") -> "tuple[Tensor, Tensor, float]":
        """``(A, B, scale)`` with the site's change in weight = scale * B @ A; A is (r, d_in), B (d_out, r)."""
        ...
