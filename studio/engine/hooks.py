"""What placements do at one live module: cast its trained masters, edit its weight, change its output."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import sigmoid

from studio.api import Context, LowRank, Site
from studio.core.errors import PluginError, StudioError
from studio.core.spec import Gate
from studio.engine.flow import Flow
from studio.engine.low_rank import low_rank_linears
from studio.engine.quantized import QuantizedLinear
from studio.extensions.declaring import GATE

Weights = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class At:
    """One placement at one site: the plugin's functions bound to its parameters and tensors there."""

    method: str
    index: int
    math: Any
    params: Any
    site: Site
    tensors: dict[str, Tensor]
    gate: Gate = None
    stacked: frozenset[str] = frozenset()  # tensors made once for each of the site's copies

    def factor(self, x: Tensor) -> Tensor | float:
        """How much of the change passes: the gate's value, per token where it reads the input."""
        if self.gate in ("learned", "input"):
            gate = self.tensors[GATE].to(x.dtype)
            return gate if self.gate == "learned" else sigmoid(x @ gate[:-1] + gate[-1]).unsqueeze(-1)
        return float(self.gate)  # type: ignore[arg-type]

    def merge(self, weight: Tensor, bias: Tensor | None) -> Weights:
        """The plugin's merged weights (fp32, d_out first), with the gate; every copy of a map on its own."""
        if self.site.copies > 1:
            copies = [self._merge_copy(i, each) for i, each in enumerate(weight)]
            return torch.stack(copies), bias
        with blaming(self.method, self.site):
            merged, new_bias = self.math.merge(self.params, self.site, self.tensors, weight, bias)
        return self._gated(merged, weight), None if new_bias is None else self._gated(new_bias, bias)

    def _merge_copy(self, i: int, weight: Tensor) -> Tensor:
        tensors = {name: tensor[i] if name in self.stacked else tensor for name, tensor in self.tensors.items()}
        with blaming(self.method, self.site):
            merged: Tensor = self.math.merge(self.params, self.site, tensors, weight, None)[0]
        return self._gated(merged, weight, tensors.get(GATE))

    def _gated(self, merged: Tensor, base: Tensor | None, gate: Tensor | None = None) -> Tensor:
        if self.gate is None:
            return merged
        if self.gate == "input":
            raise PluginError(self.method, "a gate that reads the input cannot be merged", where=self.site.path)
        start = torch.zeros_like(merged) if base is None else base
        if self.gate == "learned":
            return start + (self.tensors[GATE] if gate is None else gate) * (merged - start)
        return start + self.gate * (merged - start)


class Siblings:
    """Maps of one block that read the same input: in training all are computed when the first of them is called.

    Those that turn out to be given different inputs go on each for itself. So does each outside of training: what a
    tuned model answers is then to the last bits what it answers wherever its adapter is loaded.
    """

    def __init__(self) -> None:
        self.members: list[TunedModule] = []

    def output_of(self, member: "TunedModule", x: Tensor) -> Tensor | None:
        """The map of ``x`` with what its placement adds; None where that is no product of two factors."""
        ahead = member.flow.ahead
        given, output = ahead.pop(member.module, (None, None))
        if output is not None:
            if given is x:
                return output
            self.members = []
        change = member.low_rank()
        if change is None:
            return None
        ahead.update(self._computed(member, change, x))
        return ahead.pop(member.module)[1]

    def _computed(self, first: "TunedModule", change: LowRank, x: Tensor) -> dict[nn.Module, tuple[Tensor, Tensor]]:
        found: dict[Any, LowRank] = {first.module: change}
        for member in self.members if torch.is_grad_enabled() else ():
            if member is not first and (other := member.low_rank()) is not None:
                found[member.module] = other
        with blaming(first.forwards[0].method, first.forwards[0].site):
            outputs = low_rank_linears(x, list(found), list(found.values()))
        return {module: (x, output) for module, output in zip(found, outputs, strict=True)}


@contextmanager
def blaming(method: str, site: Site) -> Iterator[None]:
    """Turn what a plugin's code raises into an error that names the plugin and the site."""
    try:
        yield
    except (StudioError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if type(error).__module__.startswith("torch."):
            raise  # torch's own signals, such as the one that ends a recomputation early
        raise PluginError(method, f"fails: {type(error).__name__}: {error}", where=site.path) from error


def to_map(site: Site, stored: Tensor) -> Tensor:
    """A stored weight as the map it is: (d_out, d_in, ...), every copy on its own."""
    return stored.transpose(-1, -2) if is_flipped(site) else stored


def is_flipped(site: Site) -> bool:
    """Whether the site's weight is stored d_in first."""
    return site.transposed or site.kind == "embedding"


@dataclass
class TunedModule:
    """A live module with everything the placements do there.

    ``masters`` are the fp32 tensors that stand for trained base tensors held in another precision, by attribute;
    ``edits`` change the weights in fp32 before the module runs; ``forwards`` change its output afterwards;
    ``placed`` lists both in the order in which they act; and ``reads`` are the site paths under which the output is
    kept for others.
    """

    module: nn.Module
    flow: Flow
    attribute: str = "weight"
    masters: dict[str, nn.Parameter] = field(default_factory=dict)
    edits: list[At] = field(default_factory=list)
    forwards: list[At] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    siblings: "Siblings" = field(default_factory=Siblings)
    _cast: dict[str, Tensor] = field(default_factory=dict)  # the masters in the compute precision, as last used
    _changed_already: bool = False  # whether the module ran together with its only forward

    def __post_init__(self) -> None:
        if type(self.module) is nn.Linear or isinstance(self.module, QuantizedLinear):
            vars(self.module)["forward"] = self._run
        self.module.register_forward_pre_hook(self._enter, with_kwargs=True)
        # also when the pass ends early: a recomputation stops inside the last module that it needs
        self.module.register_forward_hook(self._leave, with_kwargs=True, always_call=True)

    @property
    def placed(self) -> list[At]:
        return [*self.edits, *self.forwards]

    def base(self, attribute: str) -> Tensor | None:
        """The base tensor the module computes with, before any edit: a trained one in the compute precision."""
        if attribute in self.masters:
            return self._cast[attribute] if attribute in self._cast else vars(self.module)[attribute]
        if attribute == "weight" and isinstance(self.module, QuantizedLinear):
            return self.module.unpack()
        return self.module._parameters.get(attribute)

    def merged(self, placed: Sequence[At]) -> Weights:
        """Weight and bias with ``placed`` folded in one after the other, in fp32 as the site maps."""
        weight, bias = self.start(self.attribute), self.start("bias")
        assert weight is not None
        weight = to_map(placed[0].site, weight)
        for at in placed:
            weight, bias = at.merge(weight, bias)
        return weight, bias

    def _weight_under(self, at: At) -> Tensor:
        """The weight that made the output a forward is given: the base with every placement before it merged."""
        first = next(i for i, other in enumerate(self.forwards) if other is at)
        before = [each for each in (*self.edits, *self.forwards[:first]) if hasattr(each.math, "merge")]
        base = self._weight()
        return self.merged(before)[0].to(base.dtype) if before else to_map(at.site, base)

    def _weight(self) -> Tensor:
        base = self.base(self.attribute)
        if base is None:
            raise TypeError(f"a {type(self.module).__name__} has no weight of its own")
        return base

    @contextmanager
    def with_gradient(self) -> Iterator[Tensor | None]:
        """The base tensor, of which gradients can be asked meanwhile; None if the module has none.

        A packed one is there unpacked.
        """
        master = self.masters.get(self.attribute)
        base = self.base(self.attribute) if master is None else master
        if base is None:
            yield None
            return
        learns = base.requires_grad
        packed = isinstance(self.module, QuantizedLinear)
        if packed:
            vars(self.module)[self.attribute] = base
        base.requires_grad_(True)
        try:
            yield base
        finally:
            base.requires_grad_(learns)
            if packed:
                vars(self.module).pop(self.attribute)

    def start(self, attribute: str) -> Tensor | None:
        """The base tensor in fp32 at least, from its trained master where there is one."""
        master = self.masters.get(attribute)
        base = self.base(attribute) if master is None else master
        return None if base is None else base.to(torch.promote_types(base.dtype, torch.float32))

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        own = vars(module)
        dtypes = {name: own[name].dtype for name in self.masters}
        for name, master in self.masters.items():
            own[name] = self._cast[name] = master.to(dtypes[name])
        if not self.edits or not self.flow.enabled:
            return
        stored = self.base(self.attribute)
        assert stored is not None
        weight, bias = self.merged(self.edits)
        back = weight.transpose(-1, -2) if is_flipped(self.edits[0].site) else weight
        own[self.attribute] = back.to(stored.dtype)
        if bias is not None:
            own["bias"] = bias.to(stored.dtype)

    def _run(self, input: Tensor) -> Tensor:
        """The module, together with what its only forward adds where that is a product of two factors."""
        output = self.siblings.output_of(self, input)
        if output is None:
            output = type(self.module).forward(self.module, input)
        else:
            self._changed_already = True
        return output

    def low_rank(self) -> LowRank | None:
        """What the only forward adds, where that is a product of factors and may be computed with the module."""
        if len(self.forwards) != 1 or self.edits or self.masters or not (self.flow.enabled and self.flow.fuses):
            return None
        at = self.forwards[0]
        learned = any(tensor is not None and tensor.requires_grad for tensor in self.module._parameters.values())
        if not hasattr(at.math, "low_rank") or isinstance(at.gate, str) or learned or "weight" in vars(self.module):
            return None
        with blaming(at.method, at.site):
            change: LowRank | None = at.math.low_rank(at.params, at.site, at.tensors)
        if change is None:
            return None
        scale = change.scale if at.gate is None else change.scale * at.gate
        return change._replace(scale=scale, dropout=change.dropout if self.module.training else 0.0)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if self.edits:
            for name in (self.attribute, "bias"):
                vars(module).pop(name, None)
            vars(module).update(self._cast)
        done, self._changed_already = self._changed_already, False
        if output is None:
            return None
        if self.flow.enabled and not done:
            for at in self.forwards:
                output = self._changed(at, module, (args, kwargs), output)
        for path in self.reads:
            self.flow.outputs[path] = first_tensor(output)
        return output

    def _changed(self, at: At, module: nn.Module, call: tuple[tuple[Any, ...], dict[str, Any]], output: Any) -> Any:
        y = first_tensor(output)
        x = y if at.site.kind == "model" else input_of(*call)
        ctx = Context(
            training=module.training,
            weight=lambda: self._weight_under(at),
            bias=lambda: self.base("bias"),
            outputs=self.flow.outputs,
            memory=self.flow.memory(at.index),
            tokens=self.flow.tokens,
        )
        with blaming(at.method, at.site):
            changed = at.math.forward(at.params, at.site, at.tensors, x, y, ctx)
        if changed.shape != y.shape or changed.dtype != y.dtype:
            raise PluginError(
                at.method,
                f"forward made {tuple(changed.shape)} {changed.dtype} of {tuple(y.shape)} {y.dtype}",
                where=at.site.path,
            )
        if at.gate is not None:
            changed = y + at.factor(x) * (changed - y)
        output = with_first_tensor(output, changed)
        return repooled(module, output) if at.site.kind == "model" else output


def repooled(model: nn.Module, output: Any) -> Any:
    """The output of a whole model, its pooled state made anew from its changed last one where it has both."""
    pooler = getattr(model, "pooler", None)
    if pooler is not None and getattr(output, "pooler_output", None) is not None:
        output["pooler_output"] = pooler(first_tensor(output))
    return output


def input_of(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    """The tensor a module was called with, wherever in the call it stands."""
    for value in (*args, *(kwargs.get(name) for name in _INPUTS), *kwargs.values()):
        if isinstance(value, Tensor):
            return value
    raise TypeError("the module was called without a tensor")


_INPUTS = ("hidden_states", "inputs_embeds", "pixel_values", "input_values", "input_features", "input_ids")


def first_tensor(output: Any) -> Tensor:
    """The main tensor of a module's output: itself, or the first of a tuple or model output."""
    return output if isinstance(output, Tensor) else output[0]


def with_first_tensor(output: Any, tensor: Tensor) -> Any:
    """The output with its main tensor replaced."""
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, tuple):
        return (tensor, *output[1:])
    output[next(iter(output.keys()))] = tensor
    return output
