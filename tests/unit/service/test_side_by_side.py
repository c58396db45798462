"""Many methods on one model at one budget, counted by the real services."""

from pathlib import Path

import pytest

from studio.core.errors import Cancelled, UserError
from studio.service.methods import count
from studio.service.side_by_side import count_methods
from tests.helpers import tiny


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"path:{tiny.make_llama(tmp_path_factory.mktemp('llama'))}"


def test_that_each_method_is_sized_to_the_budget_as_when_counted_alone(llama: str, studio_home: Path) -> None:
    wanted = ("lora", "prompt-tuning", "sparse-mask")
    for found in count_methods(llama, wanted, 3000):
        assert found.count == count(llama, found.method, budget=3000)
        assert found.count is not None
        assert 0 < found.count.trainable <= 3000


def test_that_reasons_tell_a_budget_from_a_model(llama: str, studio_home: Path) -> None:
    full, bitfit, levi = count_methods(llama, ("full", "bitfit", "levi"), 10)
    assert (full.count, full.works) == (None, True)
    assert full.problem.startswith("cannot be met: full has no size to choose and trains ")
    assert (bitfit.works, levi.works) == (False, False)
    assert levi.problem == "levi works on encoder models only"


def test_that_a_required_parameter_is_named(llama: str, studio_home: Path) -> None:
    (found,) = count_methods(llama, ("peft-trainable-tokens",))
    assert found.works
    assert found.problem.startswith("token_indices: ")


def test_that_counting_stops_when_the_user_gives_up(llama: str, studio_home: Path) -> None:
    seen: list[str] = []

    def progress(phase: str, fraction: float | None) -> None:
        seen.append(phase)

    with pytest.raises(Cancelled):
        count_methods(llama, ("lora", "full"), progress=progress, cancelled=lambda: bool(seen))
    assert seen == ["Counting lora"]


def test_that_an_unknown_method_is_the_askers_mistake(llama: str, studio_home: Path) -> None:
    with pytest.raises(UserError, match="there is no method 'lroa'"):
        count_methods(llama, ("lroa",))


def test_that_a_count_names_its_sites_and_virtual_tokens(llama: str, studio_home: Path) -> None:
    lora, prompt = (found.count for found in count_methods(llama, ("lora", "prompt-tuning")))
    assert lora is not None
    assert prompt is not None
    assert len(lora.paths) == lora.sites
    assert (lora.extra_tokens, prompt.extra_tokens) == (0, 20)
    assert prompt.paths == ("",)
