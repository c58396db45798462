"""What the gallery lists, in which order, and in which words."""

from types import SimpleNamespace
from typing import Any

from studio.core.errors import PluginError
from studio.gui.screens.methods.comparison_rows import size_words
from studio.gui.screens.methods.entries import Entry, Wanted, arrange, count_words, make_entries
from studio.gui.screens.methods.families import badge_words, families_of
from tests.gui.fake_backend import LORA_SCHEMA, method


def info(id_: str, *tags: str, origin: str = "bundled", checks: Any = None) -> Any:
    made = method(id_, id_.title(), f"{id_} in words", LORA_SCHEMA, "kind == linear")
    made.tags, made.origin, made.checks = tags, origin, checks
    return made


def counted(id_: str, trainable: int | None, *, works: bool = True) -> Any:
    count = None if trainable is None else SimpleNamespace(trainable=trainable)
    return SimpleNamespace(method=id_, count=count, problem="", works=works)


ENTRIES = make_entries(
    [info("alpha", "adapter"), info("beta", "low-rank"), info("gamma", "prefix", origin="home"), info("delta")],
    [PluginError("zeta", "hangs")],
    [counted("alpha", 300), counted("beta", 20), counted("gamma", None), counted("delta", None, works=False)],
)


def ids(**wanted: Any) -> list[str]:
    return [entry.id for entry in arrange(ENTRIES, Wanted(**wanted))]


def test_that_broken_plugins_come_first_and_the_rest_by_title_or_count() -> None:
    assert ids() == ["zeta", "alpha", "beta", "delta", "gamma"]
    assert ids(order="count") == ["zeta", "beta", "alpha", "delta", "gamma"]


def test_that_a_search_looks_at_ids_tags_and_reasons() -> None:
    assert ids(text="PREFIX gam") == ["gamma"]
    assert ids(text="third-party") == ["gamma"]
    assert ids(text="hangs") == ["zeta"]
    assert ids(text="2106.09685") == ["alpha", "beta", "delta", "gamma"]


def test_that_several_chips_show_the_methods_of_each() -> None:
    assert ids(families=frozenset({"Adapter", "Third-party"})) == ["alpha", "gamma"]
    assert families_of(info("x", "selective", "side-network")) == ("Selection", "Side")


def test_that_a_budget_that_is_too_small_does_not_mean_that_a_method_does_not_work() -> None:
    assert ids(works=True) == ["zeta", "alpha", "beta", "gamma"]
    by_id = {entry.id: entry for entry in ENTRIES}
    words = [count_words(by_id[name]) for name in ("alpha", "gamma", "delta", "zeta")]
    assert words == ["300", "not at this budget", "not on this model", ""]


def test_that_the_badge_tells_checked_from_failed_from_unchecked() -> None:
    checks = SimpleNamespace(families={"llama": ("trains",)}, failed=0)
    assert badge_words(info("x", checks=checks)) == ("1 check on 1 model", "fits", "check")
    checks = SimpleNamespace(families={"llama": ("trains",)}, failed=2)
    assert badge_words(info("x", checks=checks)) == ("Fails 2 checks", "doesnotfit", "cross")
    assert badge_words(info("x")) == ("Not checked", "muted", "ring")


def test_that_a_screen_reader_is_told_what_a_card_shows() -> None:
    assert Entry(info("alpha"), counted=counted("alpha", 1300)).words() == "Alpha. alpha in words Not checked. 1,300"
    assert ENTRIES[0].words() == "zeta cannot be used. hangs"


def test_that_fitted_sizes_are_named_as_the_form_names_them() -> None:
    assert size_words(LORA_SCHEMA, {"rank": 1200, "alpha": 16.0, "dropout": 0.0, "rslora": False}) == "Rank 1,200"
    assert size_words(LORA_SCHEMA, {"rank": 8}) == "Rank 8, Alpha 16"
    assert size_words({"properties": {}}, {}) == "no sizes"
