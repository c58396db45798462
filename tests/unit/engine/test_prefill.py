"""Prompts read in one pass without padding: each as if it were alone, and written on as if it were."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from studio.engine.batches import Row
from studio.engine.generate import write_samples
from studio.engine.prefill import prefill
from studio.engine.row_attention import attend_by_row, attends_by_row
from studio.models.families import FAMILIES
from tests.helpers import families

ENCODER = cast("Any", SimpleNamespace(pad_id=0, eos_id=2, decode=lambda ids: " ".join(map(str, ids))))
LENGTHS = (1, 2, 17, 5, 5)


def build(family: str, most: int = 64) -> Any:
    model = families.build(family, sliding_window=4, max_position_embeddings=most)
    with torch.no_grad():
        for parameter in model.parameters():  # what a tiny model says depends on its words hardly, as it is made
            if parameter.dim() == 2:
                parameter.mul_(5)
    model.config.pad_token_id = None  # GPT-2 warns where it writes that token
    attend_by_row(model)
    return model


def random_prompts(lengths: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randint(3, families.VOCAB, (length,)) for length in lengths]


BY_ROW = [
    name for name, family in FAMILIES.items()
    if family.packs and family.kind == "decoder" and attends_by_row(build(name))
]  # fmt: skip


@pytest.mark.parametrize("family", BY_ROW)
def test_that_each_prompt_is_read_as_if_it_were_alone(family: str) -> None:
    model, prompts = build(family), random_prompts(LENGTHS)
    cache, logits = prefill(model, prompts)
    for row, prompt in enumerate(prompts):
        with torch.inference_mode():
            alone = model(input_ids=prompt[None], use_cache=True)
        assert torch.allclose(logits[row], alone.logits[0, -1], rtol=1e-4, atol=1e-5)
        kept = min(len(prompt), 3)  # a layer with a window forgets the others
        for ours, own in zip(cache.layers, alone.past_key_values.layers, strict=True):
            assert torch.allclose(ours.keys[row, :, -kept:], own.keys[0, :, -kept:], atol=1e-5)
            assert torch.allclose(ours.values[row, :, -kept:], own.values[0, :, -kept:], atol=1e-5)
            assert not ours.keys[row, :, : -len(prompt)].any()


def test_that_prompts_merely_joined_would_say_something_else() -> None:
    model, prompts = build("llama"), random_prompts(LENGTHS)
    _, apart = prefill(model, prompts)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    with torch.inference_mode():
        joined = model(input_ids=torch.cat(prompts)[None], position_ids=positions, use_cache=True).logits[0]
    ends = torch.tensor(LENGTHS).cumsum(0) - 1
    assert torch.allclose(joined[0], apart[0], atol=1e-5)
    assert float((joined[ends] - apart)[1:].abs().amax(-1).min()) > 0.1


@pytest.mark.parametrize("family", BY_ROW)
def test_that_prompts_are_written_on_as_each_alone(family: str) -> None:
    check_written(build(family), LENGTHS)


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=2, max_size=6))
def test_that_prompts_of_any_lengths_are_written_on_as_each_alone(lengths: list[int]) -> None:
    check_written(build("llama"), tuple(lengths))


def test_that_one_very_long_prompt_changes_nothing() -> None:
    check_written(build("llama", most=700), (600, 3, 1, 20))


def check_written(model: Any, lengths: tuple[int, ...]) -> None:
    answer = np.arange(3, 11)
    rows = [
        Row(np.append(prompt.numpy(), answer), np.arange(len(prompt) + len(answer)) >= len(prompt))
        for prompt in random_prompts(lengths)
    ]
    alone, together = (write_samples(model, rows, ENCODER, device="cpu", at_once=n) for n in (1, len(rows)))
    assert together == alone
    assert len(together) == len(lengths)
