"""One method of each mechanism through the real session: plan, data, loop, checkpoint, merge."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.core.errors import UserError
from studio.core.paths import bundled_plugins
from studio.core.plan import Plan
from studio.engine.batches import collate
from studio.engine.build import load_base
from studio.engine.merge import merge_into_base
from studio.engine.session import Session
from studio.engine.tasks import batch_logits
from studio.extensions.loader import LoadedMethod, load_method
from studio.extensions.registry import discover
from tests.helpers import plans, tiny
from tests.helpers.sessions import opened, trained

HEAD = 66  # the tiny BERT's classifier
USES = (
    "lora",  # changes outputs
    "ssf",  # changes outputs of linear maps and norms
    "sparse-mask",  # changes weights, with fixed tensors and a setup
    "adalora",  # acts at every step, adds to the loss
    "bitfit", "full", "embedding-and-head",  # train tensors of the base
    "apet",  # chooses among its sites
    "prompt-tuning", "prefix-tuning",  # virtual tokens, keys and values
    "parallel-adapter",  # whole feed-forwards, or two maps that leave each other what they read
    "unipt",  # beside the model, without a gradient through it
)  # fmt: skip
METHODS = [load_method(discover([bundled_plugins()]).get(use, "method")) for use in USES]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {"llama": tiny.make_llama(root / "llama"), "bert": tiny.make_bert(root / "bert")}


@pytest.fixture(params=["llama", "bert"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=METHODS, ids=lambda method: method.id)
def method(request: pytest.FixtureRequest) -> LoadedMethod:
    found: LoadedMethod = request.param
    return found


@pytest.fixture
def make(models: dict[str, Path], family: str, method: LoadedMethod, tmp_path: Path) -> Callable[..., Plan]:
    """Makes a plan of the method on the family; skips where it finds nothing to train."""

    def make_plan(**overrides: Any) -> Plan:
        library = tmp_path / f"library{len(list(tmp_path.iterdir()))}"
        settings = {"learning_rate": method.traits.learning_rate * 5, "use": method.id, **overrides}
        if family == "bert":
            data, columns = tiny.make_reviews(tmp_path / "reviews.csv"), {"text": "text", "label": "label"}
            settings |= {"task": "classification", "head": HEAD}
        else:
            data = tiny.make_questions(tmp_path / "questions.jsonl")
            columns = {"prompt": "{question} ?", "completion": "{answer}"}
        plan = plans.make_plan(models[family], data, library, columns=columns, **settings)
        if plan.placements[0].trainable == 0:
            pytest.skip(f"{method.id} finds nothing to train in a {family}")
        return plan

    return make_plan


def logits(session: Session, model: torch.nn.Module | None = None) -> Tensor:
    """Logits of the session's model, or of another one, on the session's held-out rows."""
    classes = session.plan.task == "classification"
    batch = collate(session.eval_rows[:4], pad_id=0, device="cpu", packed=False, classes=classes)
    with torch.inference_mode():
        return batch_logits((model or session.model).eval(), batch).clone()


def test_that_the_start_is_the_base_model_where_the_traits_say_so(
    make: Callable[..., Plan], method: LoadedMethod, tmp_path: Path
) -> None:
    session = opened(make(), tmp_path / "run")
    bare = load_base(session.plan, pad_id=0)
    assert torch.equal(logits(session), logits(session, bare)) == method.traits.identity_at_init


def test_that_every_declared_tensor_learns_and_nothing_else_moves(
    make: Callable[..., Plan], method: LoadedMethod, tmp_path: Path
) -> None:
    session = opened(make(steps=3, eval_every=3, save_every=3), tmp_path / "run")
    own = session.attached.tensors
    before = {name: tensor.detach().clone() for name, tensor in own.items()}
    trained_ids = {id(tensor) for tensor in own.values()}
    frozen = [(p, p.detach().clone()) for p in session.model.parameters() if id(p) not in trained_ids]
    trained(session, tmp_path / "run")
    unused = {"base.pooler.dense.bias", "base.embeddings.token_type_embeddings.weight"}  # rows no input reaches
    still = {name for name, tensor in own.items() if torch.equal(tensor, before[name])}
    assert still <= unused
    assert all(torch.equal(now, then) for now, then in frozen)
    assert all(torch.isfinite(tensor).all() for tensor in own.values())
    if not method.traits.trains_base:
        assert all(name.startswith(("0.", "head.")) for name in own)


def test_that_the_loss_falls_and_the_seed_decides_it(make: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make(steps=12, eval_every=12, save_every=12)
    first = trained(opened(plan, tmp_path / "a"), tmp_path / "a")
    again = trained(opened(plan, tmp_path / "b"), tmp_path / "b")
    assert first == again
    assert min(first[6:]) < first[0]


def test_that_a_checkpoint_gives_the_same_logits_back(make: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make(steps=3, eval_every=3, save_every=3)
    session = opened(plan, tmp_path / "run")
    trained(session, tmp_path / "run")
    restored = opened(plan, tmp_path / "run")
    assert restored.resumed
    assert torch.equal(logits(restored), logits(session))


def test_that_merged_weights_answer_as_the_method_does(
    make: Callable[..., Plan], method: LoadedMethod, tmp_path: Path
) -> None:
    if not method.traits.mergeable:
        pytest.skip(f"{method.id} cannot be merged")
    plan = make(steps=3, eval_every=3, save_every=3)
    session = opened(plan, tmp_path / "run")
    trained(session, tmp_path / "run")
    tuned = logits(session)
    assert (logits(session, merge_into_base(session.attached)) - tuned).abs().max().item() < 1e-5


def test_that_a_method_that_finds_nothing_says_so_before_the_run(models: dict[str, Path]) -> None:
    from studio.service.methods import count

    with pytest.raises(UserError, match="trains nothing"):
        count(f"path:{models['llama']}", "bitfit")
