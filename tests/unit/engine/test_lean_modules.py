"""Norms and gated feed-forwards in one step: the same values and gradients, and less kept."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from studio.engine.lean_modules import make_lean

WIDTH = 48
NORMS = [LlamaRMSNorm, Qwen3RMSNorm, Olmo2RMSNorm, GemmaRMSNorm]


def results(module: nn.Module, x: Tensor, gradient: Tensor) -> list[Tensor]:
    """The output and all gradients."""
    x = x.clone().requires_grad_()
    y = module(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], gradient)]


def kept(run: Callable[[], Tensor], parameters: list[nn.Parameter]) -> int:
    """Bytes that a call keeps for its backward pass, parameters aside."""
    own = {tensor.untyped_storage().data_ptr() for tensor in parameters}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = run()
    del out
    return sum(found.values())


def gated(act: str) -> nn.Module:
    return LlamaMLP(LlamaConfig(hidden_size=WIDTH, intermediate_size=96, num_attention_heads=4, hidden_act=act))


def norm(kind: type[nn.Module]) -> nn.Module:
    made = kind(WIDTH)
    with torch.no_grad():
        next(made.parameters()).add_(0.1 * torch.randn(WIDTH))
    return made


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("kind", [*NORMS, "silu", "gelu"], ids=str)
def test_that_values_and_gradients_stay(kind: type[nn.Module] | str, dtype: torch.dtype, apart: float) -> None:
    torch.manual_seed(0)
    module = (gated(kind) if isinstance(kind, str) else norm(kind)).to(dtype)
    x, gradient = torch.randn(2, 5, WIDTH).to(dtype), torch.randn(2, 5, WIDTH).to(dtype)
    before = results(module, x, gradient)
    make_lean(module, on_cpu=True)
    assert "forward" in vars(module)
    after = results(module, x, gradient)
    assert torch.equal(after[0], before[0])
    for ours, theirs in zip(after, before, strict=True):
        assert ours.dtype == theirs.dtype
        assert float((ours - theirs).float().norm() / theirs.float().norm()) < apart


@pytest.mark.parametrize("kind", NORMS, ids=str)
def test_that_a_norm_in_half_precision_keeps_its_input_as_it_is(kind: type[nn.Module]) -> None:
    module = norm(kind).to(torch.bfloat16).requires_grad_(False)
    make_lean(module, on_cpu=True)
    x = torch.randn(4, 5, WIDTH).bfloat16().requires_grad_()
    weight = 4 * WIDTH if kind is GemmaRMSNorm else 0  # one more than the weight, in fp32
    assert kept(lambda: module(x), list(module.parameters())) == 20 * (2 * WIDTH + 4) + weight


def test_that_a_gated_feed_forward_keeps_gate_and_up_alone() -> None:
    module = gated("silu").requires_grad_(False)
    x = torch.randn(4, 5, WIDTH).requires_grad_()
    before = kept(lambda: module(x), list(module.parameters()))
    make_lean(module, on_cpu=True)
    assert kept(lambda: module(x), list(module.parameters())) == 20 * 2 * 96 * 4
    assert before == 20 * 3 * 96 * 4


def test_that_other_modules_stay_as_they_are() -> None:
    class Other(LlamaRMSNorm):
        def forward(self, hidden_states: Tensor) -> Tensor:
            return 2 * super().forward(hidden_states)

    modules = nn.ModuleList([Other(8), nn.LayerNorm(8), nn.Linear(8, 8)])
    make_lean(modules, on_cpu=True)
    assert not any("forward" in vars(module) for module in modules)
