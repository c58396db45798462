"""The whole matrix: every method that ships on every family passes the kit, and the page tells the truth about it."""

import json

import pytest

from studio.conformance.specimens import FAMILIES
from tests.plugins import conformance_page as page

METHODS = page.shipped_methods()
TABLE = json.loads(page.TABLE.read_text(encoding="utf-8"))
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_the_method_holds_what_it_must(method: page.Shipped, family: str) -> None:
    names = page.check(method, family)
    assert names == TABLE[method.id]["families"].get(family, []), "run tests/plugins/conformance_page.py"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_the_plugin_itself_holds_what_it_must(method: page.Shipped) -> None:
    assert page.check_itself(method) == ["parameters", "sources"][: 1 if method.plugin.origin == "peft" else 2]


def test_that_the_page_lists_every_method_and_each_works_somewhere() -> None:
    assert set(TABLE) == {method.id for method in METHODS}
    assert all(entry["families"] for entry in TABLE.values())
    titles = {method.id: method.plugin.manifest.title for method in METHODS}
    assert page.PAGE.read_text(encoding="utf-8") == page.page_of(TABLE, titles)
