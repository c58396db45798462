"""Events survive the round trip through a line, damaged and future lines included."""

import math

from studio.core import events as ev


def test_that_every_kind_survives_its_line() -> None:
    examples = [
        ev.StateChanged(1.0, "running", "why"),
        ev.PhaseChanged(1.0, "loading", 0.5),
        ev.Metrics(2.0, [1, 2], {"loss": [0.1, 0.30000000000000004]}),
        ev.Evaluated(3.0, 2, {"loss": 0.5}, 1.5),
        ev.Sampled(3.0, 2, [{"prompt": "a", "expected": "b", "output": "NaN"}]),
        ev.DeviceRead(4.0, {"device": "cpu"}, 5),
        ev.CheckpointSaved(5.0, 2, "checkpoints/2", 10, True, [1]),
        ev.Resumed(6.0, 2),
        ev.ArtifactWritten(7.0, "adapter", "artifacts/adapter", 9),
        ev.Noticed(8.0, "info", "Infinity"),
        ev.Failed(9.0, "UserError", "m", "h", "w", "t", {"held": {"weights": 1}}),
        ev.Measured(9.0, 1, 2.0, 3.0, 4.0, None, "none", 1.0, True, 5, True),
        ev.EpochEnded(9.0, 1, 2, 3.0, 4, 0.5),
    ]
    assert {type(event).kind for event in examples} == set(ev.KINDS)
    for event in examples:
        if not isinstance(event, ev.Sampled):
            assert ev.decode(ev.encode(event)) == event


def test_that_nan_and_infinity_come_back_as_numbers() -> None:
    event = ev.Metrics(1.0, [1, 2, 3], {"loss": [math.nan, math.inf, -math.inf]})
    line = ev.encode(event)
    back = ev.decode(line)
    assert isinstance(back, ev.Metrics)
    assert math.isnan(back.values["loss"][0])
    assert back.values["loss"][1:] == [math.inf, -math.inf]
    assert "NaN" in line


def test_that_a_line_of_a_newer_kind_is_kept() -> None:
    event = ev.decode('{"kind":"gradient_map","time":1.0,"layers":3}')
    assert isinstance(event, ev.Unknown)
    assert ev.decode(ev.encode(event)) == event


def test_that_new_fields_of_a_known_kind_are_ignored() -> None:
    assert ev.decode('{"kind":"resumed","time":1.0,"step":3,"host":"a"}') == ev.Resumed(1.0, 3)


def test_that_errors_written_before_there_were_details_are_read() -> None:
    line = '{"kind":"error","time":1.0,"error":"OutOfMemory","message":"m","hint":"h","where":"w","traceback":""}'
    assert ev.decode(line) == ev.Failed(1.0, "OutOfMemory", "m", "h", "w")


def test_that_damage_is_no_event() -> None:
    for line in ("", "{", "[1]", '{"kind":3}', '{"kind":"resumed"}', "\x00\xff"):
        assert ev.decode(line) is None
