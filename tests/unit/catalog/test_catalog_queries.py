"""Lists are sorted, filtered, searched and paged in SQL."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.catalog import search
from studio.catalog.connection import opened
from studio.catalog.ingest import ingest
from studio.catalog.queries import count_rows, find_rows, list_rows, load_run, read_curve, tag_counts
from studio.catalog.records import put_labels, put_runs, remove_runs
from studio.catalog.rows import Labels, RunFilter, RunRecord
from studio.core import events as ev
from studio.core.errors import UserError

AddRun = Callable[..., str]


def ids(wanted: RunFilter | None = None, sort: str = "created", limit: int | None = None, offset: int = 0) -> list[str]:
    return [row.id for row in list_rows(wanted or RunFilter(), sort, limit, offset)]


def test_that_a_run_is_listed_with_what_its_spec_plan_and_labels_say(add_run: AddRun) -> None:
    add_run("a", plan={"trainable": 460_800, "steps": 60}, labels=Labels(tags=("best", "paper"), star=True, notes="n"))
    row = list_rows(RunFilter(), "created", None, 0)[0]
    assert (row.name, row.model, row.data, row.method) == ("boolq-lora", "smollm2", "boolq", "lora")
    assert (row.trainable, row.steps, row.tags, row.star) == (460_800, 60, ("best", "paper"), True)


def test_that_several_placements_are_named_together(add_run: AddRun) -> None:
    add_run("a", method={"placements": [{"use": "lora"}, {"use": "ia3"}]})
    assert list_rows(RunFilter(), "created", None, 0)[0].method == "lora + ia3"


def test_that_every_column_sorts_both_ways_with_unknown_values_last(add_run: AddRun) -> None:
    add_run("a", name="b", created=1, plan={"trainable": 10})
    add_run("b", name="A", created=2, plan={"trainable": 5})
    add_run("c", name="c", created=3)
    assert ids(sort="created") == ["a", "b", "c"]
    assert ids(sort="-created") == ["c", "b", "a"]
    assert ids(sort="name") == ["b", "a", "c"]
    assert ids(sort="trainable") == ["b", "a", "c"]
    assert ids(sort="-trainable") == ["a", "b", "c"]


def test_that_runs_sort_by_a_metric(add_run: AddRun) -> None:
    for run_id, value in (("a", 3.0), ("b", 1.0), ("c", None)):
        add_run(run_id)
        if value is not None:
            ingest(
                run_id,
                [ev.Evaluated(1.0, 0, {"loss": value}, 1.0)],
                start=0,
                end=1,
                log_bytes=1,
                died=False,
                versions={},
            )
    assert ids(sort="metric:eval_loss") == ["b", "a", "c"]
    assert ids(sort="-metric:eval_loss") == ["a", "b", "c"]


def test_that_an_unknown_sort_column_is_refused_with_a_suggestion(catalog: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'created'"):
        ids(sort="craeted")


def test_that_pages_do_not_overlap(add_run: AddRun) -> None:
    for number in range(7):
        add_run(f"run-{number}", created=float(number))
    pages = [ids(limit=3, offset=offset) for offset in (0, 3, 6)]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [run_id for page in pages for run_id in page] == [f"run-{number}" for number in range(7)]
    assert count_rows(RunFilter()) == 7


def test_that_filters_all_hold_at_once(add_run: AddRun) -> None:
    add_run("a", labels=Labels(tags=("x", "y"), star=True))
    add_run("b", labels=Labels(tags=("x",)), model={"source": "hub:org/other"})
    add_run("c", labels=Labels(trashed=5.0))
    assert ids(RunFilter(tags=("x",))) == ["a", "b"]
    assert ids(RunFilter(tags=("x", "y"))) == ["a"]
    assert ids(RunFilter(model="org/other")) == ["b"]
    assert ids(RunFilter(starred=True)) == ["a"]
    assert ids(RunFilter(trashed=True)) == ["c"]
    assert ids(RunFilter(states=("completed",))) == []
    assert ids(RunFilter(states=("draft", "completed"), method="lora", data="boolq", tags=("x",))) == ["a", "b"]
    assert tag_counts() == {"x": 2, "y": 1}


@pytest.fixture(params=["indexed", "not indexed"])
def _both_searches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "not indexed":
        monkeypatch.setattr(search, "_indexed", lambda: False)


@pytest.mark.usefixtures("_both_searches")
def test_that_search_finds_words_of_names_notes_tags_and_errors(add_run: AddRun) -> None:
    add_run("first", name="Quick try", labels=Labels(notes="learning rate too high", tags=("paper-2",)))
    add_run("second", name="émile", data={"source": "path:/data/my_set.csv"})
    add_run("third", name="100% sure; DROP TABLE run")
    ingest(
        "third", [ev.Failed(1.0, "MachineError", "out of memory")], start=0, end=1, log_bytes=1, died=False, versions={}
    )
    assert ids(RunFilter(text="learning")) == ["first"]
    assert ids(RunFilter(text="LEARN rate")) == ["first"]
    assert ids(RunFilter(text="paper")) == ["first"]
    assert ids(RunFilter(text="memory")) == ["third"]
    assert ids(RunFilter(text="émile")) == ["second"]
    assert ids(RunFilter(text='"; DROP TABLE run; -- ')) == ["third"]
    assert ids(RunFilter(text="NOT")) == []
    assert ids(RunFilter(text=' *%" ')) == ["first", "second", "third"]


def test_that_new_labels_are_found_and_old_ones_are_not(add_run: AddRun) -> None:
    add_run("a", labels=Labels(notes="old words"))
    put_labels("a", Labels(name="renamed", notes="fresh"), "boolq-lora")
    assert ids(RunFilter(text="fresh")) == ["a"]
    assert ids(RunFilter(text="renamed")) == ["a"]
    assert ids(RunFilter(text="words")) == []


def test_that_a_removed_run_leaves_nothing_behind(add_run: AddRun) -> None:
    run_id = add_run("a", labels=Labels(tags=("x",)))
    ingest(run_id, [ev.Metrics(1.0, [1], {"loss": [1.0]})], start=0, end=1, log_bytes=1, died=False, versions={})
    remove_runs(["a"])
    assert ids() == []
    assert ids(RunFilter(text="boolq")) == []
    assert tag_counts() == {}
    assert len(read_curve("a", "loss")[0]) == 0
    assert load_run("a") is None


def test_that_a_run_is_found_by_id_name_or_beginning(add_run: AddRun) -> None:
    add_run("20261124-a", name="one", created=1)
    add_run("20261125-b", name="two", created=2)
    add_run("20261125-c", name="two", created=3)
    assert [row.id for row in find_rows("20261124-a")] == ["20261124-a"]
    assert [row.id for row in find_rows("20261125")] == ["20261125-c", "20261125-b"]
    assert [row.id for row in find_rows("one")] == ["20261124-a"]
    assert find_rows("2026112%") == []


def test_that_a_thousand_runs_open_and_list_within_a_blink(tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    spec = {"name": "n", "model": {"source": "library:m"}, "data": {"source": "library:d"}}
    plan = {"trainable": 1, "steps": 10, "sites": ["layers.0.self_attn.q_proj"] * 200}
    with opened(path):
        put_runs(
            RunRecord(f"run-{i:04}", float(i), spec, plan, None, labels=Labels(tags=(f"t{i % 7}",)))
            for i in range(1000)
        )

    def first_page() -> float:
        before = time.process_time()
        with opened(path):
            assert len(list_rows(RunFilter(text="n"), "-created", 100, 0)) == 100
        return time.process_time() - before

    def everything() -> float:
        before = time.process_time()
        assert len(list_rows(RunFilter(), "-eval_after", None, 0)) == 1000
        return time.process_time() - before

    assert min(first_page() for _ in range(5)) < 0.05
    with opened(path):
        assert min(everything() for _ in range(5)) < 0.05
