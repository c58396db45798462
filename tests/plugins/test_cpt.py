"""Context-aware prompt tuning: what moves, how far, and agreement with peft."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from studio.api import Step
from studio.engine.attach import Attached
from studio.engine.plugins import after_step, run_setup
from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

CONTEXT = "great film => good | awful book => bad"
# each example is "input : great film output : good" in the tiny tokenizer's words
INPUT, TEMPLATE, LABEL = 1, 2, 3
PARTS = [TEMPLATE, TEMPLATE, INPUT, INPUT, TEMPLATE, TEMPLATE, LABEL] * 2
PEFT_TYPES = [1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6, 7, 7, 8]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def encoder(model: Path) -> Callable[[str], list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def tune(model: Path, **params: Any) -> Attached:
    chosen = {"context": CONTEXT, "tokens": len(PARTS), **params}
    attached = adapting.tune(adapting.load(model), model, ("cpt", chosen))
    run_setup(attached, encoder(model), lambda: iter(()))
    return attached


def tensors(attached: Attached) -> dict[str, Tensor]:
    return dict(attached.places(0)[0].tensors)


def context_ids(model: Path) -> list[int]:
    return encoder(model)("input: great film output: good input: awful book output: bad")


def rows(seed: int = 0) -> Tensor:
    return torch.randint(4, 40, (4, 9), generator=torch.Generator().manual_seed(seed))


def train(model: nn.Module, delta: Tensor, after: Callable[[int], None], *, lr: float, steps: int = 20) -> list[float]:
    """Losses of predicting the last token of every row."""
    optimizer = torch.optim.AdamW([delta], lr=lr, weight_decay=0.0)
    losses = []
    for step in range(1, steps + 1):
        ids = rows(step % 4)
        loss = cross_entropy(model(input_ids=ids, use_cache=False).logits[:, -2], ids[:, -1])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        after(step)
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def our_losses(attached: Attached, *, lr: float, steps: int = 20) -> list[float]:
    return train(
        attached.model, tensors(attached)["delta"], lambda step: after_step(attached, Step(step, steps, lr)),
        lr=lr, steps=steps,
    )  # fmt: skip


def test_that_the_context_is_read_part_by_part(model: Path) -> None:
    attached = tune(model)
    assert tensors(attached)["part"].tolist() == PARTS
    table = attached.model.get_parameter("model.embed_tokens.weight")
    assert torch.equal(tensors(attached)["embedding"], table[context_ids(model)])


def test_that_before_training_the_model_answers_as_with_the_context_in_its_input(model: Path) -> None:
    attached = tune(model)
    in_context = torch.cat([torch.tensor(context_ids(model)).expand(4, -1), rows()], dim=1)
    with torch.inference_mode():
        expected = adapting.load(model)(input_ids=in_context).logits[:, len(PARTS) :]
        assert torch.allclose(attached.model(input_ids=rows()).logits, expected, atol=1e-6)


def test_that_a_short_context_repeats_and_a_long_one_keeps_its_end(model: Path) -> None:
    long, short = tensors(tune(model, tokens=20)), tensors(tune(model, tokens=5))
    assert long["part"].tolist() == (PARTS * 2)[-20:]
    assert short["part"].tolist() == PARTS[-5:]
    assert torch.equal(long["embedding"][-5:], short["embedding"])


def test_that_labels_stay_and_all_else_stays_within_its_ball(model: Path) -> None:
    attached = tune(model)
    our_losses(attached, lr=1.0, steps=5)
    lengths = tensors(attached)["delta"].norm(dim=1)
    scale = math.sqrt(32 / 2048)
    bounds = torch.tensor([{INPUT: 0.2, TEMPLATE: 0.1, LABEL: 0.0}[part] for part in PARTS]) * scale
    assert (lengths <= bounds + 1e-7).all()
    assert torch.equal(lengths == 0, bounds == 0)


def test_that_peft_gives_the_same_outputs_and_losses(model: Path) -> None:
    from peft import CPTConfig

    config = CPTConfig(
        task_type="CAUSAL_LM", cpt_token_ids=context_ids(model), cpt_mask=[1] * len(PARTS),
        cpt_tokens_type_mask=PEFT_TYPES, opt_projection_epsilon=0.2, opt_projection_format_epsilon=0.1,
    )  # fmt: skip
    wrapped = oracle.wrap(model, config).eval()
    delta = wrapped.get_parameter("prompt_encoder.default.delta_embedding.weight")
    attached = tune(model)
    assert attached.trainable == delta.numel() == len(PARTS) * 32

    def theirs(input_ids: Tensor, **options: Any) -> Any:
        answer = wrapped(input_ids=input_ids, **options)
        answer.logits = answer.logits[:, len(PARTS) :]
        return answer

    def difference() -> float:
        with torch.inference_mode():
            return float((attached.model(input_ids=rows()).logits - theirs(rows()).logits).abs().max())

    assert difference() < 1e-5
    ours = our_losses(attached, lr=1e-2)
    expected = train(theirs, delta, lambda step: None, lr=1e-2)  # type: ignore[arg-type]
    assert max(abs(a - b) for a, b in zip(ours, expected, strict=True)) < 1e-4
    assert ours[0] != ours[-4]
    assert difference() < 1e-5


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ({"context": "great film, good"}, "params.context"),
        ({"context": CONTEXT + " | awful film =>"}, "params.context"),
        ({"input_template": "input:"}, "params.input_template"),
        ({"output_template": "{} or {}"}, "params.output_template"),
    ],
)
def test_that_a_context_without_examples_and_a_template_without_a_slot_are_refused(
    params: dict[str, str], where: str
) -> None:
    parsed, problems = oracle.load("cpt").parse(params, "params")
    assert parsed is None
    assert [problem.where for problem in problems] == [where]
