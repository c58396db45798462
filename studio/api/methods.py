"""What a method plugin's two modules provide; nothing has to be inherited or registered.

``params.py`` (no torch) declares: ``Params``, ``traits``, ``declare`` and optionally ``fit``.
``method.py`` (torch) computes: ``forward`` and optionally ``merge``. A method whose declarations all name
base tensors needs no ``method.py``: the host trains those tensors in place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from studio.api.params import Params
from studio.api.sites import ParamDecl, Site, Traits

if TYPE_CHECKING:
    from torch import Tensor


class MethodParams(Protocol):
    """The module ``params.py`` of a method."""

    Params: type[Params]
    traits: Traits

    def declare(self, params: Any, site: Site) -> Sequence[ParamDecl]:
        """The trainable tensors at ``site``; an empty sequence leaves the site alone.

        Pure arithmetic: the host counts, sizes files and allocates from this alone.
        """
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


@dataclass(frozen=True)
class Context:
    """What the host tells a forward besides tensors.

    ``training``: whether dropout and other noise apply. ``weight()``: the base weight in the compute
    precision, (d_out, d_in) whichever way round the model stores it.
    """

    training: bool
    weight: "Callable[[], Tensor]"


class MethodMath(Protocol):
    """The module ``method.py`` of a method."""

    def forward(
        self, params: Any, site: Site, tensors: "Mapping[str, Tensor]", x: "Tensor", y: "Tensor", ctx: Context
    ) -> "Tensor":
        """The site's new output.

        Args:
            params: the plugin's ``Params``.
            tensors: the declared tensors by name, fp32 masters; cast them to ``x.dtype``, not ``x`` to theirs.
            x: the site's input, (..., d_in).
            y: the base module's output for ``x``, (..., d_out).
        """
        ...


@runtime_checkable
class Merges(Protocol):
    """A method whose effect can be folded into the base weight."""

    def merge(self, params: Any, site: Site, tensors: "Mapping[str, Tensor]", weight: "Tensor") -> "Tensor":
        """The merged weight, fp32 (d_out, d_in) in and out, whichever way round the model stores it."""
        ...


@runtime_checkable
class ExportsLora(Protocol):
    """A method that is exactly LoRA-shaped: its tensors as LoRA factors."""

    def lora_factors(self, params: Any, site: Site, tensors: "Mapping[str, Tensor]") -> "tuple[Tensor, Tensor, float]":
        """``(A, B, scale)`` with the site's change in weight = scale * B @ A; A is (r, d_in), B (d_out, r)."""
        ...
