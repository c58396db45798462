"""The plot widget: what is drawn, what is said, and what must not crash."""

import subprocess
import sys
import time

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.gui.plots.canvas import Canvas
from studio.gui.plots.curve_plot import CurvePlot
from studio.gui.plots.style import Band, CurveStyle, Limit
from studio.gui.theme import theme

X = np.arange(100.0)


@pytest.fixture
def plot(qtbot: QtBot, window_app: QApplication) -> CurvePlot:
    made = CurvePlot("Loss", unit="nats")
    made.add_curve("raw", "raw", CurveStyle(0))
    made.add_curve("eval", "held out", CurveStyle(1, dash="dash", dots=True))
    qtbot.addWidget(made)
    made.resize(600, 300)
    return made


def show(plot: CurvePlot, qtbot: QtBot) -> None:
    plot.show()
    qtbot.waitUntil(lambda: plot.canvas is not None)


def drawn(plot: CurvePlot) -> Canvas:
    """The drawing, brought up to date now."""
    plot.draw()
    assert plot.canvas is not None
    return plot.canvas


def test_that_values_that_are_not_finite_are_marked_and_said(plot: CurvePlot, qtbot: QtBot) -> None:
    y = np.linspace(2, 1, 100)
    y[[0, 40, 99]] = [np.nan, np.inf, -np.inf]
    show(plot, qtbot)
    plot.set_data("raw", X, y)
    marks = drawn(plot).curves["raw"].bad_item.getData()
    assert marks[0].tolist() == [0, 40, 99]
    assert np.isfinite(marks[1]).all()
    assert "3 not finite" in plot.accessibleDescription()
    QApplication.processEvents()
    low, high = drawn(plot).view.viewRange()[1]
    assert 0 < low < 1
    assert 2 < high < 3


def test_that_a_curve_without_one_finite_value_is_still_shown(plot: CurvePlot, qtbot: QtBot) -> None:
    show(plot, qtbot)
    plot.set_data("raw", X[:3], np.full(3, np.nan))
    assert len(drawn(plot).curves["raw"].bad_item.getData()[0]) == 3


def test_that_a_hidden_plot_is_drawn_only_when_it_is_shown(plot: CurvePlot, qtbot: QtBot) -> None:
    plot.set_data("raw", X, X)
    assert plot._curves["raw"].dirty
    show(plot, qtbot)
    qtbot.waitUntil(lambda: not plot._curves["raw"].dirty)  # drawn a turn after its canvas is there
    assert len(drawn(plot).curves["raw"].item.getData()[0]) == 100


def test_that_the_last_values_are_said_with_their_unit(plot: CurvePlot, qtbot: QtBot) -> None:
    show(plot, qtbot)
    plot.set_data("raw", X, X / 100)
    plot.draw()
    assert "raw 0.9900 nats" in plot.accessibleDescription()


def test_that_the_values_can_be_read_as_a_table(plot: CurvePlot, qtbot: QtBot) -> None:
    show(plot, qtbot)
    plot.set_data("raw", X[:2], np.array([1.5, np.nan]))
    plot.show_table(True)
    model = plot._table.model()
    assert [model.index(row, 1).data() for row in range(2)] == ["1.5000", "NaN"]
    plot.set_data("raw", X[:3], np.array([1.5, np.nan, 2.0]))
    plot.draw()
    assert model.rowCount() == 3


def test_that_curves_take_the_colours_of_another_theme(plot: CurvePlot, qtbot: QtBot) -> None:
    show(plot, qtbot)
    pen = drawn(plot).curves["raw"].item.opts
    before = pen["pen"].color().name()
    theme().apply("dark")
    assert pen["pen"].color().name() == theme().tokens.series[0] != before
    theme().apply("light")


def test_that_a_forecast_is_a_band_with_a_line_at_its_middle(plot: CurvePlot, qtbot: QtBot) -> None:
    plot.set_band(Band(1.0, 2.0, 4.0))
    show(plot, qtbot)
    canvas = drawn(plot)
    assert canvas._band is not None
    assert canvas._middle is not None
    assert canvas._band.getRegion() == (1.0, 4.0)
    assert canvas._middle.value() == 2.0
    plot.set_band(None)
    assert not canvas._band.isVisible()
    assert not canvas._middle.isVisible()


@pytest.mark.parametrize(("near", "said"), [(False, "limit 24 ↑"), (True, "limit 24")])
def test_that_only_a_near_limit_is_always_in_the_picture(plot: CurvePlot, qtbot: QtBot, near: bool, said: str) -> None:
    show(plot, qtbot)
    plot.set_data("raw", X, X / 25)
    plot.set_limit(Limit(24.0, "limit 24", near))
    canvas = drawn(plot)
    QApplication.processEvents()
    assert canvas._limit is not None
    assert canvas._limit._text.text() == said
    assert (canvas.view.viewRange()[1][1] >= 24) is near
    assert plot.accessibleDescription().endswith("limit 24")
    plot.set_limit(None)
    plot.set_data("raw", X, X / 50)
    plot.draw()
    QApplication.processEvents()
    assert canvas.view.viewRange()[1][1] < 3


def test_that_lines_are_one_pixel_wide_without_antialiasing(plot: CurvePlot, qtbot: QtBot) -> None:
    show(plot, qtbot)
    for curve in drawn(plot).curves.values():
        assert curve.item.opts["pen"].width() == 1
        assert not curve.item.opts["antialias"]


def test_that_ten_thousand_points_are_drawn_in_well_under_a_frame_of_a_slow_screen(
    plot: CurvePlot, qtbot: QtBot
) -> None:
    x = np.arange(10_000.0)
    show(plot, qtbot)
    plot.set_data("raw", x, np.sin(x / 50))
    QApplication.processEvents()
    began = time.perf_counter()
    plot.set_data("raw", x, np.cos(x / 50))
    plot.grab()
    assert time.perf_counter() - began < 0.25


def test_that_new_values_are_painted_once(plot: CurvePlot, qtbot: QtBot) -> None:
    show(plot, qtbot)
    qtbot.wait(50)
    painted: list[object] = []
    drawn(plot).scene().sigPrepareForPaint.connect(lambda: painted.append(None))
    QApplication.processEvents()
    painted.clear()
    plot.set_data("raw", X, X * 3)  # another range, and other words at the axes
    plot.draw()
    qtbot.wait(50)
    assert len(painted) == 1


def test_that_qt_does_not_lose_count_of_none() -> None:
    """PySide6 6.12 under Python 3.11 drops a reference at each call and aborts after some thousand."""
    code = (
        "from PySide6.QtWidgets import QApplication, QGraphicsRectItem\n"
        "app = QApplication([])\nitem = QGraphicsRectItem()\n"
        "for _ in range(20_000): assert item.parentItem() is None\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
