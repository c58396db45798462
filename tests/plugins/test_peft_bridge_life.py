"""The life of every bridged method: placed, trained, saved, restored, handed to peft, switched off, merged."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from studio.core.plan import Plan
from studio.engine.batches import collate
from studio.engine.build import load_base
from studio.engine.clock import Clock
from studio.engine.export import export_adapter
from studio.engine.flow import backbone_of, bare
from studio.engine.loop import train
from studio.engine.merge import merge_into_base, merge_problems
from studio.engine.session import Session, open_session
from studio.engine.tasks import batch_logits, loss_sum
from studio.engine.telemetry import Telemetry
from studio.extensions.bridge import BridgedMethod, bridged, load_bridged
from studio.rundir.control import ControlReader
from studio.rundir.log import EventLog
from tests.helpers import plans, tiny
from tests.helpers.bridged import PARAMS
from tests.helpers.metering import no_meter

HEAD = 66  # the tiny BERT's classifier
STEPS = {"llama": 6, "bert": 2}
METHODS = [load_bridged(plugin) for plugin in bridged()]


@dataclass
class Life:
    """What one method did on one model; logits are of the first rows."""

    method: BridgedMethod
    session: Session
    untuned: Tensor
    start: Tensor
    tuned: Tensor
    losses: tuple[float, float]
    restored: Tensor
    adapter: Path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bridge")
    tiny.make_llama(root / "llama")
    tiny.make_bert(root / "bert")
    return root


@pytest.fixture(scope="module", params=["llama", "bert"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=METHODS, ids=lambda method: method.id)
def life(request: pytest.FixtureRequest, family: str, root: Path) -> Life:
    method: BridgedMethod = request.param
    folder = root / f"{family}-{method.id}"
    folder.mkdir()
    plan = make_plan(method, family, root, folder)
    session = opened(plan, folder)
    start, before = logits(session), loss(session)
    trained(session, folder)
    return Life(
        method=method,
        session=session,
        untuned=logits(session, load_base(plan, pad_id=0)),
        start=start,
        tuned=logits(session),
        losses=(before, loss(session)),
        restored=logits(opened(plan, folder)),
        adapter=export_adapter(session.attached, plan, folder / "adapter"),
    )


def make_plan(method: BridgedMethod, family: str, root: Path, folder: Path) -> Plan:
    settings = {"use": method.id, "params": PARAMS.get(method.id, {}), "steps": STEPS[family], "eval_rows": 0,
                "learning_rate": min(method.traits.learning_rate * 4, 5e-3), "save_every": STEPS[family]}  # fmt: skip
    if family == "bert":
        data, columns = tiny.make_reviews(folder / "reviews.csv"), {"text": "text", "label": "label"}
        settings |= {"task": "classification", "head": HEAD}
    else:
        data = tiny.make_questions(folder / "questions.jsonl")
        columns = {"prompt": "{question} ?", "completion": "{answer}"}
    return plans.make_plan(root / family, data, folder / "data", columns=columns, **settings)  # type: ignore[arg-type]


def opened(plan: Plan, folder: Path) -> Session:
    with EventLog(folder / "events.jsonl") as log:
        return open_session(plan, folder / "checkpoints", Telemetry(log, "cpu"))


def trained(session: Session, folder: Path) -> None:
    with EventLog(folder / "events.jsonl") as log:
        telemetry = Telemetry(log, "cpu")
        control = ControlReader(folder / "control.jsonl")
        train(session, telemetry, control, folder / "checkpoints", Clock(session, telemetry, no_meter))


def logits(session: Session, model: nn.Module | None = None) -> Tensor:
    classes = session.plan.task == "classification"
    batch = collate(session.train_rows[:4], pad_id=0, device="cpu", packed=False, classes=classes)
    with torch.inference_mode():
        return batch_logits((model or session.model).eval(), batch).clone()


def loss(session: Session) -> float:
    """The mean loss of the training rows, without noise."""
    classes = session.plan.task == "classification"
    batch = collate(session.train_rows, pad_id=0, device="cpu", packed=False, classes=classes)
    with torch.inference_mode():
        return (loss_sum(batch_logits(session.model.eval(), batch), batch) / batch.weight).item()


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def test_that_what_was_counted_is_trained_and_saved(life: Life) -> None:
    from safetensors import safe_open

    with safe_open(life.adapter / "pet_weights.safetensors", "pt") as file:
        saved = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    attached = life.session.attached
    wanted = {key: decl.shape for key, decl in attached.decls.items() if decl.role in ("trained", "fixed")}
    assert saved == wanted
    assert attached.trainable == life.session.plan.trainable


def test_that_the_start_is_the_base_model_where_the_traits_say_so(life: Life) -> None:
    assert torch.equal(life.start, life.untuned) >= life.method.traits.identity_at_init


@pytest.mark.parametrize("family", ["llama"], indirect=True, scope="module")  # BERT's new pooler says nothing to learn
def test_that_a_few_steps_lower_the_loss(life: Life) -> None:
    before, after = life.losses
    assert after < before


def test_that_a_checkpoint_gives_the_same_logits_back(life: Life) -> None:
    assert torch.equal(life.restored, life.tuned)
    assert not torch.equal(life.tuned, life.start)


def test_that_the_model_without_its_placement_is_the_base_model(life: Life) -> None:
    session = life.session
    with bare(session.model):
        off = hidden(session.model, session)
    assert torch.equal(off, hidden(load_base(session.plan, pad_id=0), session))
    assert torch.equal(logits(session), life.tuned)
    assert all(tensor.requires_grad for tensor in session.attached.tensors.values())


def hidden(model: nn.Module, session: Session) -> Tensor:
    """What comes out of the backbone: the tuned head is not the placement's."""
    batch = collate(session.train_rows[:4], pad_id=0, device="cpu", packed=False,
                    classes=session.plan.task == "classification")  # fmt: skip
    with torch.inference_mode():
        out: Tensor = backbone_of(model.eval())(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    return out


def test_that_peft_answers_the_same_with_the_exported_folder(life: Life) -> None:
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = PeftModel.from_pretrained(load_base(life.session.plan, pad_id=0), str(life.adapter))
    assert difference(logits(life.session, theirs), life.tuned) < 1e-6


def test_that_merged_weights_answer_as_the_method_does(life: Life) -> None:
    attached = life.session.attached
    problems = merge_problems(attached)
    if problems:
        expected = {"peft-beft": "no bias", "peft-trainable-tokens": "shares"}
        assert expected[life.method.id] in problems[0]
        return
    assert difference(logits(life.session, merge_into_base(attached)), life.tuned) < 1e-5
    assert not any("base_layer" in name for name, _ in life.session.model.named_modules())
