"""The Methods screen, its counts and its drawing."""

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.api import Site
from studio.gui.screens.methods.block import plan_drawing, words
from studio.gui.screens.methods.screen import MethodsScreen
from tests.gui.accessibility import clashing_mnemonics, nameless, too_wide
from tests.gui.fake_backend import FakeBackend, llama_sites


@pytest.fixture
def screen(qtbot: QtBot, window_app: QApplication, backend: FakeBackend) -> Iterator[MethodsScreen]:
    made = MethodsScreen(backend)
    qtbot.addWidget(made)
    made.resize(1100, 740)
    made.show()
    made.enter("lora")
    qtbot.waitUntil(lambda: "parameters" in made.panel.trainable.text())
    return made


def test_that_the_asked_for_method_is_shown_with_its_paper_and_count(screen: MethodsScreen) -> None:
    panel = screen.panel
    assert panel.heading.text() == "LoRA"
    assert "arXiv 2106.09685" in panel.paper.text()
    assert panel.trainable.text() == "2,442,240 parameters"
    assert panel.diagram.accessibleDescription().startswith("Chosen: q (30 of 30)")


def test_that_a_changed_parameter_is_counted_anew(screen: MethodsScreen, qtbot: QtBot) -> None:
    form = screen.panel.form
    assert form is not None
    form.set_values({"rank": 16})
    form.edited.emit("params.rank", 16)
    qtbot.waitUntil(lambda: screen.panel.trainable.text() == "4,884,480 parameters")


def test_that_where_narrows_what_the_drawing_marks(screen: MethodsScreen, qtbot: QtBot) -> None:
    screen.panel.where.setText("role in (q, v) and layer < 10")
    qtbot.waitUntil(lambda: screen.panel.diagram.accessibleDescription() == "Chosen: q (10 of 30), v (10 of 30)")


def test_that_a_wrong_where_is_an_error_at_its_place(screen: MethodsScreen, qtbot: QtBot) -> None:
    screen.panel.where.setText("role ~ q")
    qtbot.waitUntil(screen.panel.error.isVisible)
    assert screen.panel.trainable.text() == "–"
    screen.panel.where.setText("role == q")
    qtbot.waitUntil(lambda: not screen.panel.error.isVisible())


def test_that_search_looks_into_papers_and_tags(screen: MethodsScreen, qtbot: QtBot) -> None:
    screen.search.setText("low-rank hu")
    qtbot.waitUntil(lambda: screen.model.rowCount() > 0)
    screen.search.setText("no such method")
    qtbot.waitUntil(lambda: screen.lists.currentWidget() is screen.nothing)
    assert not screen.use.isEnabled()


def test_that_use_presets_a_new_run_with_the_parameters_set(screen: MethodsScreen, qtbot: QtBot) -> None:
    screen.panel.where.setText("role == q")
    with qtbot.waitSignal(screen.navigate) as asked:
        screen.use.click()
    (placement,) = asked.args[1]["method"]["placements"]
    assert (placement["use"], placement["where"], placement["params"]["rank"]) == ("lora", "role == q", 8)


def test_that_the_keyboard_and_a_screen_reader_reach_everything(screen: MethodsScreen) -> None:
    QApplication.processEvents()
    assert nameless(screen) == []
    assert clashing_mnemonics(screen) == []
    assert too_wide(screen, screen.width()) == []


def test_that_the_drawing_orders_a_block_as_data_flows() -> None:
    sites = llama_sites(4)
    drawing = plan_drawing(sites, {site.path for site in sites if site.role == "q" and site.layer == 1})
    assert [[box.role for box in column] for column in drawing.block] == [
        ["q", "k", "v"],
        ["o"],
        ["gate", "up"],
        ["down"],
    ]
    assert drawing.layers == (False, True, False, False)
    assert words(drawing) == "Chosen: q (1 of 4)"


def test_that_containers_are_drawn_only_when_something_sits_there() -> None:
    block = Site("layers.0", "block", "block", 0, 8, 8, (), has_bias=False)
    odd = Site("layers.0.odd", "linear", "mixer", 0, 8, 8, (8, 8), has_bias=False)
    head = Site("lm_head", "linear", "head", None, 8, 99, (99, 8), has_bias=False)
    plain = plan_drawing([block, odd, head], set())
    assert [box.role for box in plain.boxes] == ["mixer", "head"]
    assert words(plain) == "Nothing is chosen"
    marked = plan_drawing([block, odd, head], {"layers.0"})
    assert {box.role for box in marked.boxes} == {"block", "mixer", "head"}
