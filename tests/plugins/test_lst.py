"""Ladder side tuning: a side network that needs no gradient through the base model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from studio.engine.attach import Attached
from studio.engine.batches import Row, collate
from studio.engine.tasks import batch_logits
from tests.helpers import adapting, tiny

USE = ("lst", {"width": 6})


@pytest.fixture(params=["llama", "bert"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return (tiny.make_llama if request.param == "llama" else tiny.make_bert)(tmp_path / "m")


@pytest.fixture
def decoder(tmp_path: Path) -> Attached:
    folder = tiny.make_llama(tmp_path / "decoder")
    attached = adapting.tune(adapting.load(folder), folder, USE)
    adapting.stir(attached)
    return attached


def rows() -> list[Row]:
    ids = [np.asarray(ids) for ids in ([2, 9, 8, 7, 6, 5], [2, 11, 12, 13])]
    return [Row(each, np.arange(len(each)) > 1) for each in ids]


def test_that_a_bert_base_counts_as_the_formula() -> None:
    d, m, layers = 768, 96, 12
    rung, ends = d * m + 12 * m * m + 10 * m + 1, 2 * d * m + 3 * m + d
    sites = adapting.published("BertModel")
    assert adapting.count("lst", {}, sites) == layers * rung + ends == 2_371_884
    assert adapting.count("lst", {"every": 3}, sites) == 4 * rung + ends


def test_that_the_side_network_is_the_written_out_ladder(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m", layers=2)
    attached = adapting.tune(adapting.load(folder), folder, USE)
    tensors = {name.split(".", 2)[2]: t for name, t in adapting.stir(attached).items()}
    states: list[torch.Tensor] = []
    plain = adapting.load(folder).model
    for path in ("embed_tokens", "layers.0", "layers.1"):
        plain.get_submodule(path).register_forward_hook(lambda module, args, output: states.append(output))
    last = plain(input_ids=adapting.some_ids(), use_cache=False)[0]

    def apply(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ tensors[f"{name}.weight"].T + tensors.get(f"{name}.bias", 0.0)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, (6,), tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    side = apply("embed_tokens.down", states[0])
    for i in (0, 1):
        gate = torch.sigmoid(tensors[f"layers.{i}.gate"] / 0.1)
        side = gate * side + (1 - gate) * apply(f"layers.{i}.down", states[i + 1])
        q, k, v = apply(f"layers.{i}.qkv", norm(f"layers.{i}.norm1", side)).split(6, -1)
        scores = (q @ k.mT / 6**0.5).masked_fill(torch.ones(7, 7).triu(1).bool(), float("-inf"))
        side = side + apply(f"layers.{i}.o", scores.softmax(-1) @ v)
        side = side + apply(f"layers.{i}.fc2", gelu(apply(f"layers.{i}.fc1", norm(f"layers.{i}.norm2", side))))
    tuned = attached.model.model(input_ids=adapting.some_ids(), use_cache=False)[0]  # type: ignore[operator]
    assert torch.allclose(tuned, last + apply("up", norm("norm", side)), atol=1e-5)


def test_that_the_start_is_the_base_model(folder: Path) -> None:
    attached = adapting.tune(adapting.load(folder), folder, USE)
    assert torch.equal(adapting.answer(attached.model), adapting.answer(adapting.load(folder)))
    adapting.stir(attached)
    assert not torch.allclose(adapting.answer(attached.model), adapting.answer(adapting.load(folder)), atol=1e-3)


def test_that_the_base_model_runs_without_gradients_and_keeps_nothing_for_a_backward_pass(folder: Path) -> None:
    attached = adapting.tune(adapting.load(folder), folder, USE)
    adapting.stir(attached)
    modes: list[bool] = []
    for site in attached.placed[0].sites:
        if site.kind == "block":
            path = site.path if site.path.startswith("encoder") else f"model.{site.path}"
            attached.model.get_submodule(path).register_forward_hook(
                lambda module, args, output: modes.append(torch.is_grad_enabled())
            )
    adapting.answer(attached.model.train()).square().sum().backward()
    assert modes == [False, False]
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in attached.tensors.values())
    assert all(p.grad is None for p in attached.model.parameters())


def test_that_less_is_kept_for_the_backward_pass_than_with_lora(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m", layers=6, hidden=64)
    kept = {}
    for use in (USE, ("lora", {"rank": 4})):
        attached = adapting.tune(adapting.load(folder), folder, use)
        adapting.stir(attached)
        owned = {p.data_ptr() for p in [*attached.model.parameters(), *attached.tensors.values()]}
        seen: dict[int, int] = {}

        def note(tensor: torch.Tensor, owned: set[int] = owned, seen: dict[int, int] = seen) -> torch.Tensor:
            if tensor.data_ptr() not in owned:
                seen[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            answer = adapting.answer(attached.model.train())
        kept[use[0]] = sum(seen.values())
        assert answer.requires_grad
    assert kept["lst"] < kept["lora"] / 2


def test_that_a_decoder_does_not_look_ahead(decoder: Attached) -> None:
    ids = adapting.some_ids()
    changed = ids.clone()
    changed[:, 4:] = 6
    before, after = adapting.answer(decoder.model, ids), adapting.answer(decoder.model, changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


def test_that_an_encoder_looks_both_ways_and_never_at_padding(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "m")
    attached = adapting.tune(adapting.load(folder), folder, USE)
    adapting.stir(attached)
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[:, 5:] = 0
    ids = adapting.some_ids()
    whole = adapting.answer(attached.model, ids, attention_mask=mask)[:, :5]
    padding, words = ids.clone(), ids.clone()
    padding[:, 5:] = 6
    words[:, 4] = 6
    assert torch.allclose(adapting.answer(attached.model, padding, attention_mask=mask)[:, :5], whole, atol=1e-6)
    assert torch.allclose(adapting.answer(attached.model, ids[:, :5]), whole, atol=1e-5)
    assert not torch.allclose(adapting.answer(attached.model, words, attention_mask=mask)[:, 0], whole[:, 0], atol=1e-4)


def test_that_packed_and_padded_rows_answer_alike(decoder: Attached) -> None:
    together, apart = (
        batch_logits(decoder.model, collate(rows(), pad_id=0, device="cpu", packed=packed, classes=False))
        for packed in (True, False)
    )
    assert torch.allclose(together, apart, atol=1e-5)


def test_that_text_is_written_as_the_whole_sequence_is_answered(decoder: Attached) -> None:
    prompt = adapting.some_ids()[:1]
    written = decoder.model.generate(  # type: ignore[operator]
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=4, min_new_tokens=4,
        use_cache=not decoder.recomputes, pad_token_id=0,
    )  # fmt: skip
    step = adapting.answer(decoder.model, written)[0, 6:-1].clone()
    step[:, 3] = -1e9  # the end of the text is held back
    assert step.argmax(-1).tolist() == written[0, 7:].tolist()


def test_that_a_pooled_state_follows_the_changed_one(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "m")
    attached = adapting.tune(adapting.load(folder), folder, USE)
    adapting.stir(attached)
    output = attached.model(input_ids=adapting.some_ids())
    assert torch.equal(output.pooler_output, attached.model.pooler(output.last_hidden_state))  # type: ignore[operator]
