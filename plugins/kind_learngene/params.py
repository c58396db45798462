"""KIND: rank-one components that every token uses, and groups of them that a gate chooses among."""

from collections.abc import Sequence

from pydantic import model_validator

from studio.api import ParamDecl, Site, Traits, count_over, largest, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """How many components there are of each kind."""

    learngenes: int = ui(4, lo=0, hi=1024, label="Learngenes", help="Components that every token uses.")
    tailors: int = ui(4, lo=0, hi=1024, label="Tailors", help="Components of each group.")
    groups: int = ui(2, lo=1, hi=64, label="Groups", help="Groups of tailors, for kinds of input that differ.")

    @model_validator(mode="after")
    def _has_components(self) -> "Params":
        if not self.learngenes and not self.tailors:
            raise ValueError("needs at least one learngene or tailor")
        return self

    @property
    def gated(self) -> bool:
        """Whether there is anything to choose."""
        return self.groups > 1 and self.tailors > 0


traits = Traits(kinds=("linear",), where="role in (q, v, qkv)", learning_rate=1e-3)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """The factors, learngenes first, and the gate's logits; U starts at zero, so the model starts unchanged."""
    count = params.learngenes + params.groups * params.tailors
    factors = (
        ParamDecl("V", (count, site.d_in), init="kaiming"),
        ParamDecl("sigma", (count,), init="ones", decay=False),
        ParamDecl("U", (site.d_out, count)),
    )
    if not params.gated:
        return factors
    gate = ParamDecl("gate.weight", (params.groups, site.d_in), init="kaiming")
    return (*factors, gate, ParamDecl("gate.bias", (params.groups,), decay=False))


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """As many components as the budget allows; learngenes and tailors keep their proportion."""

    def make(size: int) -> Params:
        learngenes = size * params.learngenes // (params.learngenes + params.tailors)
        return params.model_copy(update={"learngenes": learngenes, "tailors": size - learngenes})

    return largest(make, lambda sized: count_over(declare, sized, sites), budget, most=1024)
