"""LEVI: what the adapting layers read, that the base stays out of the backward pass, and how it counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.engine.attach import Attached
from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

SIZE = {"width": 6, "depth": 2, "layers": 2, "hidden": 10}
IDS = torch.randint(5, 40, (3, 8), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 8, [1] * 6 + [0] * 2, [1] * 3 + [0] * 5])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_bert(tmp_path / "model", layers=4)


def tune(model: Path, **params: Any) -> Attached:
    attached = adapting.tune(adapting.load(model), model, ("levi", {**SIZE, **params}))
    oracle.fill(attached, std=0.3)
    return attached


def states(attached: Attached, ids: Tensor = IDS, mask: Tensor = MASK) -> Tensor:
    with torch.no_grad():
        answer: Tensor = attached.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return answer


def adapting_tensors(attached: Attached) -> dict[str, Tensor]:
    return dict(attached.places(0)[1].tensors)


def test_that_the_answer_is_the_mean_of_the_views(model: Path) -> None:
    attached = tune(model)
    own = adapting_tensors(attached)
    with torch.no_grad():
        own["in.weight"][..., 32:] = 0.0
        hidden = adapting.load(model)(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states
        views = [
            (hidden[block] @ own["in.weight"][i, :, :32].T + own["in.bias"][i]).relu() @ own["out.weight"][i].T
            + own["out.bias"][i]
            for i, block in enumerate((2, 4))
        ]
    assert torch.allclose(states(attached), hidden[4] + (views[0] + views[1]) / 2, atol=1e-5)


def test_that_without_the_small_models_view_it_is_a_probe_of_several_layers(model: Path) -> None:
    attached = tune(model)
    with torch.no_grad():
        adapting_tensors(attached)["in.weight"][..., 32:] = 0.0
    before = states(attached)
    with torch.no_grad():
        for tensor in attached.places(0)[0].tensors.values():
            tensor.normal_()
    assert torch.equal(states(attached), before)


def test_that_without_the_bases_view_every_token_gets_the_small_models_change(model: Path) -> None:
    attached = tune(model, layers=1)
    with torch.no_grad():
        adapting_tensors(attached)["in.weight"][..., :32] = 0.0
        change = states(attached) - adapting.load(model)(input_ids=IDS, attention_mask=MASK).last_hidden_state
    assert torch.allclose(change, change[:, :1].expand_as(change), atol=1e-6)
    assert (change[0, 0] - change[1, 0]).abs().max() > 1e-3


def test_that_padding_is_not_seen(model: Path) -> None:
    attached = tune(model)
    alone = states(attached, IDS[2:, :3], MASK[2:, :3])
    assert torch.allclose(states(attached)[2:, :3], alone, atol=1e-5)


def test_that_no_gradient_passes_through_the_base(model: Path) -> None:
    attached = tune(model)
    seen = []
    for block in range(3):
        attached.model.get_submodule(f"encoder.layer.{block}").register_forward_hook(
            lambda module, args, output: seen.append(output if isinstance(output, Tensor) else output[0])
        )
    attached.model(input_ids=IDS, attention_mask=MASK).last_hidden_state.sum().backward()
    assert [output.requires_grad for output in seen] == [False] * 3
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in attached.tensors.values())


def test_that_a_step_with_checkpointing_has_the_same_gradients(model: Path) -> None:
    grads = []
    for checkpointing in (False, True):
        attached = tune(model)
        attached.model.train()
        for module in attached.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            attached.model.config.use_cache = False  # type: ignore[union-attr]
            enable: Any = attached.model.activation_checkpointing_enable
            enable(activation_checkpointing_kwargs={"use_reentrant": False})
        attached.model(input_ids=IDS, attention_mask=MASK).last_hidden_state.square().sum().backward()
        grads.append([tensor.grad for tensor in attached.tensors.values()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*grads, strict=True))


def test_that_bert_base_counts_as_the_formula_says() -> None:
    words, d, e, n, a, views = 30_522, 768, 128, 2, 256, 4
    count = words * e + 12 * n * e**2 + views * (a * (d + e + 1) + d * (a + 1))
    assert adapting.count("levi", {}, adapting.published("BertModel")) == count


def test_that_there_are_no_more_views_than_blocks(model: Path) -> None:
    assert len(adapting_tensors(tune(model, layers=9))["in.weight"]) == 4
