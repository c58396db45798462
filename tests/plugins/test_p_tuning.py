"""P-tuning against peft: the same count, prompt, outputs and losses for both networks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

TOKENS, HIDDEN = 5, 12
LINEARS = {
    "mlp": {"1": "mlp_head.0", "2": "mlp_head.2", "3": "mlp_head.4"},
    "lstm": {"1": "mlp_head.0", "2": "mlp_head.2"},
}
LSTM = {"input": "weight_ih", "state": "weight_hh", "input_bias": "bias_ih", "state_bias": "bias_hh"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def tune(model: Path, encoder: str) -> Any:
    params = {"tokens": TOKENS, "hidden": HIDDEN, "encoder": encoder}
    return oracle.tune(model, "p-tuning", params, where="kind == model")


def peft_name(own: str, encoder: str) -> str:
    """What peft calls our tensor ``own``."""
    if own == "tokens":
        return "embedding.weight"
    if own.startswith("lstm."):
        _, layer, way, name = own.split(".")
        return f"lstm_head.{LSTM[name]}_l{layer}{'_reverse' if way == 'backward' else ''}"
    layer, kind = own.split(".")
    return f"{LINEARS[encoder][layer]}.{kind}"


class WordsOnly(nn.Module):
    """peft's model, answering for the words alone."""

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        self.base_model = wrapped
        for name, parameter in wrapped.named_parameters():
            parameter.requires_grad_("prompt_encoder" in name)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **options: Any) -> Any:
        answer = self.base_model(input_ids=input_ids, **options)
        answer.logits = answer.logits[:, TOKENS:]
        if labels is not None:
            answer.loss = cross_entropy(answer.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return answer


def peft_model(model: Path, encoder: str) -> WordsOnly:
    from peft import PromptEncoderConfig

    return WordsOnly(
        oracle.wrap(
            model,
            PromptEncoderConfig(
                task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, encoder_hidden_size=HIDDEN,
                encoder_reparameterization_type=encoder.upper(), encoder_num_layers=2, encoder_dropout=0.0,
            ),
        )
    )  # fmt: skip


@pytest.mark.parametrize("encoder", ["mlp", "lstm"])
def test_that_peft_gives_the_same_count_outputs_and_losses(model: Path, encoder: str) -> None:
    attached, theirs = tune(model, encoder), peft_model(model, encoder)
    (place,) = attached.places(0)
    network = theirs.base_model.get_submodule("prompt_encoder.default")
    assert {peft_name(name, encoder) for name in place.tensors} == dict(network.named_parameters()).keys()
    with torch.no_grad():
        for name, tensor in place.tensors.items():
            network.get_parameter(peft_name(name, encoder)).copy_(tensor)
    assert attached.trainable == sum(parameter.numel() for parameter in network.parameters())
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


def test_that_the_lstm_and_its_layers_count_as_the_formula_says() -> None:
    n, d, h, k = 20, 2048, 128, 2
    lstm = 8 * h * (d + h + 2) + 8 * h * (3 * h + 2) * (k - 1)
    layers = (2 * h) ** 2 + 2 * h + 2 * h * d + d
    sites = adapting.published("LlamaForCausalLM", hidden_size=d, num_hidden_layers=1)
    assert adapting.count("p-tuning", {}, sites) == n * d + lstm + layers


def test_that_the_three_layers_count_as_the_formula_says() -> None:
    n, d, h = 20, 2048, 128
    sites = adapting.published("LlamaForCausalLM", hidden_size=d, num_hidden_layers=1)
    assert adapting.count("p-tuning", {"encoder": "mlp"}, sites) == n * d + 2 * h * d + h * h + 2 * h + d


def test_that_each_virtual_token_depends_on_all_embeddings_with_the_lstm_alone(model: Path) -> None:
    reach = {}
    for encoder in ("mlp", "lstm"):
        (place,) = tune(model, encoder).places(0)
        method = oracle.load("p-tuning")
        parsed = method.module.Params.model_validate({"tokens": TOKENS, "hidden": HIDDEN, "encoder": encoder})
        math: Any = method.math()
        math.prompt(parsed, place.site, place.tensors, None)[2].sum().backward()
        reach[encoder] = (place.tensors["tokens"].grad.abs().sum(1) > 0).tolist()
    assert reach == {"mlp": [False, False, True, False, False], "lstm": [True] * TOKENS}
