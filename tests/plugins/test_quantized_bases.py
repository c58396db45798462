"""Every method on a base held in 8 bits trains as on the same weights held in full, or is refused."""

from pathlib import Path

import pytest
import torch

from studio.core.errors import PluginError, UserError
from studio.core.plan import Plan
from studio.engine.quantized import QuantizedLinear, quantize_base
from studio.engine.session import placements_of
from studio.extensions.declaring import declare_at
from studio.models.sites import find_sites, is_quantizable
from tests.helpers import plans, tiny
from tests.helpers.bridged import PARAMS
from tests.helpers.sessions import opened, trained
from tests.plugins.conformance_page import Shipped, shipped_methods

METHODS = [method for method in shipped_methods() if not method.traits.families or "decoder" in method.traits.families]
STEPS = 3
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder whose matrices 8 bits hold exactly."""
    from transformers import AutoModelForCausalLM

    folder = tiny.make_llama(tmp_path_factory.mktemp("coarse"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    quantize_base(model, find_sites(folder), "int8", torch.float32)
    packed = {path: module for path, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    assert len(packed) == 14
    again = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for path, module in packed.items():
            again.get_submodule(path).weight.copy_(module.weight)
    again.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_packed_matrices_make_no_difference_to_what_is_learned(
    method: Shipped, coarse: Path, tmp_path: Path
) -> None:
    plan = plan_of(method.id, coarse, tmp_path)
    if trains_packed(plan) or not method.traits.quantizes:
        with pytest.raises((UserError, PluginError), match=r"packed|not a plain"):
            opened(plan.model_copy(update={"quantization": "int8"}), tmp_path / "refused")
        return
    losses = {}
    for kind in ("none", "int8"):
        session = opened(plan.model_copy(update={"quantization": kind}), tmp_path / kind)
        held = [module for module in session.model.modules() if isinstance(module, QuantizedLinear)]
        before = [module.packed.clone() for module in held]  # type: ignore[operator, union-attr]
        losses[kind] = trained(session, tmp_path / kind)
        assert all(torch.equal(old, module.packed) for old, module in zip(before, held, strict=True))  # type: ignore[arg-type]
        assert bool(held) == (kind == "int8")
    assert losses["int8"] == pytest.approx(losses["none"], rel=1e-4)
    assert len(losses["int8"]) == STEPS


def plan_of(use: str, model: Path, folder: Path) -> Plan:
    data = tiny.make_questions(folder / "questions.jsonl")
    columns = {"prompt": "{question} ?", "completion": "{answer}"}
    plan = plans.make_plan(
        model, data, folder / "library", columns=columns, use=use, params=PARAMS.get(use), steps=STEPS
    )
    if not plan.placements[0].trainable:
        pytest.skip(f"{use} finds nothing to train in a decoder")
    return plan


def trains_packed(plan: Plan) -> bool:
    """Whether a matrix that would be packed is trained itself."""
    return any(
        is_quantizable(site) and any(decl.base == "weight" for decl in decls)
        for item in placements_of(plan, find_sites(Path(plan.model_path)))
        for site, decls in declare_at(item.method, item.params, item.sites)
    )
