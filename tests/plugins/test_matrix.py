"""The whole matrix: every bundled method on every family passes the kit, and the page tells the truth about it."""

import json
from collections.abc import Iterator

import pytest
import torch

from studio.conformance.kit import check_family
from studio.conformance.specimens import FAMILIES
from studio.extensions.loader import LoadedMethod
from tests.plugins import conformance_page as page

METHODS = page.bundled_methods()
TABLE = json.loads(page.TABLE.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_the_method_holds_what_it_must(method: LoadedMethod, family: str) -> None:
    names = page.passed(check_family(method, family))
    assert names == TABLE[method.id]["families"].get(family, []), "run tests/plugins/conformance_page.py"


def test_that_the_page_lists_every_method_and_each_works_somewhere() -> None:
    assert set(TABLE) == {method.id for method in METHODS}
    assert all(entry["families"] for entry in TABLE.values())
    titles = {method.id: method.plugin.manifest.title for method in METHODS}
    assert page.PAGE.read_text(encoding="utf-8") == page.page_of(TABLE, titles)
