"""Our method and peft's on one tiny decoder, side by side: the same tensors, outputs and losses."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studio.api import ParamDecl, Params, Place, Site, Step
from studio.engine.attach import Attached, Placed, attach
from studio.engine.initial import initial_value, seeded
from studio.engine.plugins import after_step, extra_loss, run_setup
from studio.extensions.declaring import count_tensors, declare_at
from studio.extensions.loader import LoadedMethod, load_method
from studio.extensions.registry import discover
from studio.models.sites import find_sites
from studio.models.where import select

TARGETS = ["q_proj", "v_proj", "down_proj"]
WHERE = "role in (q, v, down)"
STEPS = 20
BATCHES = 4


def load(use: str) -> LoadedMethod:
    """A bundled method."""
    return load_method(discover().get(use, "method"))


def count(use: str, params: Mapping[str, Any], sites: Sequence[Site]) -> int:
    """What the method trains over ``sites``."""
    method = load(use)
    return sum(count_tensors([declare_at(method, method.module.Params.model_validate(dict(params)), sites)]).values())


def linear(path: str, role: str, d_in: int, d_out: int) -> Site:
    """A linear map of a model that is only counted."""
    return Site(path, "linear", role, 0, d_in, d_out, (d_out, d_in), has_bias=False)


def loose_places(method: LoadedMethod, params: Params, sites: Sequence[Site]) -> list[Place]:
    """The method's tensors at sites of no model, whose base weights are zero."""
    return [
        Place(site, _allocated(site, decls), lambda site=site: torch.zeros(site.shape), lambda: None)  # type: ignore[misc]
        for site, decls in declare_at(method, params, sites)
    ]


def _allocated(site: Site, decls: Sequence[ParamDecl]) -> dict[str, Tensor]:
    cpu = torch.device("cpu")
    values = {decl.name: initial_value(decl, seeded(0, f"{site.path}.{decl.name}"), cpu) for decl in decls}
    return {decl.name: values[decl.name].requires_grad_(decl.role == "trained") for decl in decls}


def conv_change(use: str, params: Mapping[str, Any], conv: nn.Conv2d) -> tuple[Place, Tensor]:
    """The method's tensors at a convolution, all filled, and the change of its weight."""
    method = load(use)
    parsed = method.module.Params.model_validate(dict(params))
    shape = tuple(conv.weight.shape)
    site = Site("conv", "conv", "conv", 0, shape[1], shape[0], shape, has_bias=False)
    (place,) = loose_places(method, parsed, [site])
    with torch.no_grad():
        for tensor in place.tensors.values():
            tensor.normal_(generator=torch.Generator().manual_seed(tensor.numel()))
        return place, method.math().merge(parsed, site, place.tensors, torch.zeros(shape), None)[0]  # type: ignore[union-attr]


def wrapped_conv(conv: nn.Conv2d, config: Any) -> nn.Module:
    """The same convolution under peft."""
    import peft

    wrapped: nn.Module = peft.get_peft_model(nn.Sequential(conv), config)
    return wrapped.get_submodule("base_model.model.0")


def tune(folder: Path, use: str, params: Mapping[str, Any] | None = None, *, where: str = WHERE) -> Attached:
    """A method on the tiny decoder in ``folder``, set up."""
    method = load(use)
    parsed, problems = method.parse(dict(params or {}), "params")
    assert parsed is not None, problems
    sites = find_sites(folder)
    chosen = tuple(site for site in select(sites, where) if method.traits.takes(site))
    attached = attach(_decoder(folder), [Placed(method, parsed, chosen)], sites=sites, train_head=False, seed=0)
    run_setup(attached, lambda text: [], lambda: iter(()))
    return attached


def pretrain(folder: Path, *, steps: int) -> None:
    """Train the tiny decoder in ``folder`` in full, so that its weights mean something."""
    model = _decoder(folder).requires_grad_(True)
    _train(model, list(model.parameters()), 5e-3, steps, lambda step: None, lambda step: None)
    model.save_pretrained(folder)  # type: ignore[operator]


def wrap(folder: Path, config: Any) -> nn.Module:
    """The same decoder under peft."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped: nn.Module = peft.get_peft_model(_decoder(folder), config)
    return wrapped


def fill(attached: Attached, *, std: float = 0.1) -> None:
    """Random values in every trained tensor, so that a comparison sees them all."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in attached.tensors.values():
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=std)


def copy_to_peft(attached: Attached, theirs: nn.Module, names: Mapping[str, str]) -> None:
    """Our tensors into peft's; ``names`` maps a declared name to the attribute of peft's layer."""
    with torch.no_grad():
        for place in attached.places(0):
            layer = theirs.get_submodule(f"base_model.model.{attached.paths[place.site.path]}")
            for own, other in names.items():
                tensor = place.tensors[own]
                layer.get_parameter(other).copy_(tensor.reshape(layer.get_parameter(other).shape))


def difference(attached: Attached, theirs: nn.Module) -> float:
    """The largest difference between both models' logits."""
    return (logits(attached.model) - logits(theirs)).abs().max().item()


def logits(model: nn.Module) -> Tensor:
    """The model's answer to one fixed batch."""
    with torch.inference_mode():
        answer: Tensor = model.eval()(input_ids=_batch(0), use_cache=False).logits
    return answer.clone()


def our_losses(attached: Attached, *, lr: float = 1e-2, steps: int = STEPS, added: bool = True) -> list[float]:
    """The losses of our loop's steps, with what the method adds and does between them."""

    def add(step: int) -> Tensor | None:
        return extra_loss(attached, Step(step, steps, lr)) if added else None

    return _train(
        attached.model, list(attached.tensors.values()), lr, steps, add,
        lambda step: after_step(attached, Step(step, steps, lr)),
    )  # fmt: skip


def peft_losses(theirs: nn.Module, *, lr: float = 1e-2, steps: int = STEPS) -> list[float]:
    """The losses of the same steps under peft."""
    trained = [parameter for parameter in theirs.parameters() if parameter.requires_grad]
    allocate = getattr(theirs.base_model, "update_and_allocate", lambda step: None)
    return _train(theirs, trained, lr, steps, lambda step: None, allocate)


def watched(attached: Attached, steps: int, look: Callable[[], Any]) -> list[Any]:
    """What ``look`` sees after each of our loop's steps."""
    seen = []

    def after(step: int) -> None:
        after_step(attached, Step(step, steps, 1e-2))
        seen.append(look())

    trained = list(attached.tensors.values())
    _train(attached.model, trained, 1e-2, steps, lambda step: extra_loss(attached, Step(step, steps, 1e-2)), after)
    return seen


def train_loose(
    math: Any, params: Params, places: Sequence[Place], loss: Callable[[int], Tensor], *, steps: int, lr: float
) -> None:
    """Train the tensors of ``loose_places`` on a loss of their own, with all that the method does at each step."""
    trained = [tensor for place in places for tensor in place.tensors.values() if tensor.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
    for number in range(1, steps + 1):
        step = Step(number, steps, lr)
        (loss(number) + math.extra_loss(params, places, step)).backward()
        optimizer.step()
        with torch.no_grad():
            math.on_step(params, places, step)
        optimizer.zero_grad()


def agree(ours: list[float], theirs: list[float]) -> bool:
    """Whether two loss curves are the same within 1e-4 while that of one batch falls by far more."""
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    return apart < 1e-4 and ours[0] - ours[-BATCHES] > 1e-3


def _train(model: nn.Module, trained: list[nn.Parameter], lr: float, steps: int, add: Any, after: Any) -> list[float]:
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
    model.train()
    losses = []
    for step in range(1, steps + 1):
        ids = _batch(step % BATCHES)
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        added = add(step)
        total = loss if added is None else loss + added
        total.backward()
        optimizer.step()
        after(step)
        optimizer.zero_grad()
        losses.append(total.item())
    return losses


def _batch(number: int) -> Tensor:
    return torch.randint(4, 40, (4, 12), generator=torch.Generator().manual_seed(number))


def _decoder(folder: Path) -> nn.Module:
    from transformers import AutoModelForCausalLM

    model: nn.Module = AutoModelForCausalLM.from_pretrained(folder).requires_grad_(False)
    return model
