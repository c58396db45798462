"""What methods that change weights say of themselves, against what their code does."""

import pytest
import torch
from torch import Tensor

from studio.api import Site
from studio.engine.initial import initial_value, seeded
from studio.extensions.declaring import declare_at, edited_sites
from studio.extensions.loader import LoadedMethod, load_method
from studio.extensions.registry import discover
from studio.simulate.ledger import Ledger

SITE = Site("layers.0.q", "linear", "q", 0, 160, 128, (128, 160), False)
METHODS = [load_method(plugin) for plugin in discover().of_kind("method") if plugin.origin != "peft"]
EDITING = [method for method in METHODS if method.traits.edits is not None]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_exactly_the_methods_without_a_forward_edit_weights(method: LoadedMethod) -> None:
    math = method.math()
    assert (method.traits.edits is not None) == (hasattr(math, "merge") and not hasattr(math, "forward"))


@pytest.mark.parametrize("method", EDITING, ids=lambda method: method.id)
def test_that_a_merge_keeps_what_its_traits_say(method: LoadedMethod) -> None:
    params = method.module.Params()
    ((_, decls),) = declare_at(method, params, [SITE])
    weight = torch.randn(SITE.shape)
    tensors = {}
    for decl in decls:
        value = initial_value(decl, seeded(0, decl.name), torch.device("cpu"))
        tensors[decl.name] = value.requires_grad_() if decl.role == "trained" else value
    ledger = Ledger(device="cpu")
    for tensor in (weight, *tensors.values()):
        ledger.note(tensor)
    own, saved = len(ledger.sizes), []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), ledger:
        merged, _ = method.math().merge(params, SITE, tensors, weight, None)  # type: ignore[union-attr]
    assert merged.requires_grad
    live = {event - 1 for event in ledger.events if event > 0} - {-event - 1 for event in ledger.events if event < 0}
    large = [number for number in live if number >= own and ledger.sizes[number] >= weight.nbytes]
    edits = method.traits.edits or ()
    assert edits.count("change") == len(large) - 1  # one is the merged weight
    assert edits.count("weight") == saved.count(weight.data_ptr())


def test_that_experts_are_edited_by_any_method() -> None:
    lora = next(method for method in METHODS if method.id == "lora")
    experts = Site("layers.0.experts", "linear", "expert_down", 0, 160, 128, (2, 128, 160), False, copies=2)
    placed = [(lora, declare_at(lora, lora.module.Params(), [SITE, experts]))]
    assert edited_sites(placed) == {"layers.0.experts": ()}
