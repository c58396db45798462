"""What only a GPU can show: mixed precision with loss scaling, measured memory and energy. Run with ``-m gpu``."""

from pathlib import Path

import pytest
import torch

from studio.core.events import DeviceRead
from studio.core.state import fold
from studio.rundir.log import read_all_events
from studio.service.start_run import start_run
from tests.e2e.conftest import losses, wait_until_ended
from tests.helpers import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU on this machine"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("wide-llama"), layers=8, hidden=512)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_that_every_precision_learns_and_reports_its_memory(model: Path, questions: Path, precision: str) -> None:
    run_id = start_run(tiny.questions_spec(model, questions, precision=precision, max_steps=40, learning_rate=1e-3))
    folder = wait_until_ended(run_id, 180)
    snapshot = fold(read_all_events(folder.events))
    assert snapshot.state == "completed", snapshot.error
    seen = losses(folder)
    assert seen[40] < seen[1]
    assert snapshot.measured is not None
    assert snapshot.measured.allocated_bytes is not None
    assert 0 < snapshot.measured.allocated_bytes <= snapshot.measured.peak_bytes
    assert (snapshot.measured.watt_hours is None) == (snapshot.measured.energy_method == "none")
    readings = [event for event in read_all_events(folder.events) if isinstance(event, DeviceRead)]
    assert readings
    assert readings[-1].sample["device"].startswith("cuda")


def test_that_checkpointing_lowers_the_peak(model: Path, questions: Path) -> None:
    peaks = []
    for checkpointing in (False, True):
        spec = tiny.questions_spec(model, questions, checkpointing=checkpointing, max_steps=4, micro_batch=8)
        snapshot = fold(read_all_events(wait_until_ended(start_run(spec), 180).events))
        assert snapshot.measured is not None
        peaks.append(snapshot.measured.peak_bytes)
    assert peaks[1] <= peaks[0]
