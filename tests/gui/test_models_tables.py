"""Item models under Qt's own model tester."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QPersistentModelIndex, Qt

from studio.gui.models.pages import PAGE_ROWS, PagedTable
from studio.gui.models.records import RECORD_ROLE, Column, RecordTable
from studio.gui.models.series import SeriesTable


@dataclass(frozen=True)
class Thing:
    name: str
    size: int


COLUMNS: tuple[Column[Thing], ...] = (
    Column("Name", lambda thing: thing.name),
    Column("Size", lambda thing: f"{thing.size:,}", sort=lambda thing: thing.size, numeric=True),
)


def test_that_records_keep_qts_model_contract(qtmodeltester: Any) -> None:
    model = RecordTable(COLUMNS)
    model.set_records([Thing("a", 3), Thing("b", 1)])
    qtmodeltester.check(model)
    model.set_records([Thing("c", 9)])
    model.set_records([Thing("c", 9), Thing("d", 2), Thing("e", 5)])
    qtmodeltester.check(model)
    assert model.index(0, 1).data() == "9"


def test_that_sorting_compares_numbers_and_carries_selections_along(qtmodeltester: Any) -> None:
    model = RecordTable(COLUMNS)
    model.set_records([Thing("a", 100), Thing("b", 20), Thing("c", 3)])
    held = QPersistentModelIndex(model.index(0, 0))
    model.sort(1, Qt.SortOrder.AscendingOrder)
    assert [record.name for record in model.records()] == ["c", "b", "a"]
    assert held.row() == 2
    qtmodeltester.check(model)


def test_that_equal_lists_announce_nothing() -> None:
    model = RecordTable(COLUMNS)
    model.set_records([Thing("a", 1)])
    changes: list[int] = []
    model.dataChanged.connect(lambda first, last: changes.append(first.row()))
    model.set_records([Thing("a", 1)])
    model.set_records([Thing("a", 2)])
    assert changes == [0]


def test_that_a_page_is_asked_for_once_and_shown_when_it_comes(qtmodeltester: Any) -> None:
    model: PagedTable[Thing] = PagedTable(COLUMNS)
    asked: list[int] = []
    model.page_wanted.connect(asked.append)
    model.restart(250)
    assert model.index(120, 0).data() is None
    assert model.index(121, 0).data() is None
    assert asked == [1]
    model.set_page(1, [Thing(f"n{i}", i) for i in range(PAGE_ROWS)])
    assert model.index(120, 0).data() == "n20"
    assert model.index(120, 0).data(RECORD_ROLE) == Thing("n20", 20)
    qtmodeltester.check(model)


def test_that_a_refreshed_page_announces_only_what_differs() -> None:
    model: PagedTable[Thing] = PagedTable(COLUMNS)
    model.restart(3)
    model.set_page(0, [Thing("a", 1), Thing("b", 2), Thing("c", 3)])
    changes: list[tuple[int, int]] = []
    model.dataChanged.connect(lambda first, last: changes.append((first.row(), last.row())))
    model.set_page(0, [Thing("a", 1), Thing("b", 7), Thing("c", 3)])
    assert changes == [(1, 1)]


def test_that_rows_come_and_go_without_a_reset(qtmodeltester: Any) -> None:
    model: PagedTable[Thing] = PagedTable(COLUMNS)
    model.restart(2)
    model.set_page(0, [Thing("a", 1), Thing("b", 2)])
    model.set_count(3)
    assert model.index(2, 0).data() is None
    model.set_count(1)
    assert model.rowCount() == 1
    qtmodeltester.check(model)


def test_that_sorting_a_paged_table_is_left_to_the_query() -> None:
    model: PagedTable[Thing] = PagedTable(COLUMNS)
    wanted: list[tuple[int, Qt.SortOrder]] = []
    model.sort_wanted.connect(lambda column, order: wanted.append((column, order)))
    model.sort(1, Qt.SortOrder.DescendingOrder)
    assert wanted == [(1, Qt.SortOrder.DescendingOrder)]


def test_that_a_plots_values_line_up_by_x(qtmodeltester: Any) -> None:
    model = SeriesTable("step")
    model.set_curves(
        [("raw", np.array([1.0, 2.0]), np.array([0.5, np.nan])), ("eval", np.array([2.0, 4.0]), np.array([0.25, 1e-9]))]
    )
    texts = [[model.index(row, column).data() for column in range(3)] for row in range(3)]
    assert texts == [["1", "0.5000", ""], ["2", "NaN", "0.2500"], ["4", "", "1.00e-09"]]
    qtmodeltester.check(model)
