"""The event log: whole lines only, whatever was killed when."""

from pathlib import Path

import pytest

from studio.core import events as ev
from studio.rundir.log import EventLog, read_all_events, read_events


def test_that_events_are_read_from_an_offset_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append(ev.Resumed(1.0, 1))
    first, offset = read_events(path)
    log.append(ev.Resumed(2.0, 2))
    second, end = read_events(path, offset)
    assert (first, second) == ([ev.Resumed(1.0, 1)], [ev.Resumed(2.0, 2)])
    assert read_events(path, end) == ([], end)
    log.close()


def test_that_a_torn_last_line_is_kept_for_the_next_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    whole = ev.encode(ev.Resumed(1.0, 1)) + "\n"
    path.write_text(whole + '{"kind":"resu')
    events, offset = read_events(path)
    assert events == [ev.Resumed(1.0, 1)]
    assert offset == len(whole)
    with path.open("a") as file:
        file.write('med","time":2.0,"step":5}\n')
    assert read_events(path, offset)[0] == [ev.Resumed(2.0, 5)]


def test_that_a_new_writer_starts_on_a_line_of_its_own_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"resu')
    log = EventLog(path)
    log.append(ev.Resumed(2.0, 5), durable=True)
    log.close()
    assert list(read_all_events(path)) == [ev.Resumed(2.0, 5)]


def test_that_a_log_that_does_not_exist_yet_reads_as_empty(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none.jsonl", 7) == ([], 7)


@pytest.mark.parametrize("limit", [1, 40, 1000])
def test_that_bounded_reads_lose_nothing(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for step in range(50):
        log.append(ev.Resumed(1.0, step))
    log.close()
    seen: list[int] = []
    offset = 0
    while True:
        events, after = read_events(path, offset, limit_bytes=limit)
        seen += [event.step for event in events if isinstance(event, ev.Resumed)]
        if after == offset:
            break
        offset = after
    assert seen == list(range(50))
