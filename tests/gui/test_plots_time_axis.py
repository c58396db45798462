"""Ticks of time axes: round steps that fit, and one unit per axis."""

import pytest

from studio.gui.plots.time_axis import spacing_s, tick_text


@pytest.mark.parametrize(
    ("span", "width", "spacing"),
    [(204, 290, 60), (300, 200, 120), (9, 300, 5), (7200, 300, 1800), (400_000, 300, 172_800)],
)
def test_that_ticks_stand_at_round_times_with_room_for_their_words(span: float, width: float, spacing: float) -> None:
    assert spacing_s(span, width, 72) == spacing


def test_that_all_ticks_of_an_axis_have_one_unit() -> None:
    assert [tick_text(seconds, 60) for seconds in (-120, 0, 60)] == ["−2 min", "0", "1 min"]
    assert [tick_text(seconds, 30) for seconds in (30, 60)] == ["30 s", "60 s"]
    assert tick_text(172_800, 86_400) == "2 d"
