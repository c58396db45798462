"""Logs of engine tests, closed when the test ends."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.engine.telemetry import Telemetry
from studio.rundir.log import EventLog


@pytest.fixture
def open_telemetry() -> Iterator[Callable[[Path], Telemetry]]:
    """Opens telemetry into a folder's events.jsonl."""
    logs: list[EventLog] = []

    def open_(folder: Path) -> Telemetry:
        logs.append(EventLog(folder / "events.jsonl"))
        return Telemetry(logs[-1], "cpu")

    yield open_
    for log in logs:
        log.close()
