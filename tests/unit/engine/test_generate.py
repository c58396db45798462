"""Samples of several prompts written at once."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from studio.engine.batches import Row
from studio.engine.generate import write_samples
from studio.models.families import FAMILIES
from tests.helpers import families

PROMPTS, EXPECTED = (3, 9, 6), (4, 1, 7)
ENCODER = cast("Any", SimpleNamespace(pad_id=0, eos_id=2, decode=lambda ids: " ".join(map(str, ids))))


def rows() -> list[Row]:
    random = np.random.default_rng(1)
    made = []
    for prompt, expected in zip(PROMPTS, EXPECTED, strict=True):
        count = prompt + expected
        made.append(Row(random.integers(3, families.VOCAB, count), np.arange(count) >= prompt))
    return made


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.kind == "decoder"])
def test_that_prompts_written_on_together_are_written_as_each_alone(family: str) -> None:
    model = families.build(family)
    alone, together = (write_samples(model, rows(), ENCODER, device="cpu", at_once=count) for count in (1, 3))
    assert together == alone
    for sample, prompt, expected in zip(together, PROMPTS, EXPECTED, strict=True):
        assert len(sample["prompt"].split()) == prompt
        written = sample["output"].split()
        assert len(written) == expected + 8 or written[-1] == "2"
        assert "2" not in written[:-1]


def test_that_rows_without_a_prompt_have_no_sample() -> None:
    model = families.build("llama")
    text = Row(np.arange(3, 9), np.ones(6, dtype=np.bool_))
    samples = write_samples(model, [text, *rows()], ENCODER, device="cpu", at_once=4)
    assert [len(sample["prompt"].split()) for sample in samples] == list(PROMPTS)
    assert write_samples(model, [text], ENCODER, device="cpu", at_once=4) == []
