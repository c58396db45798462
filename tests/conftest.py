"""Every test gets an empty home, no network beyond this machine, and fails on warnings nobody expected."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pydantic.types  # noqa: F401 - whole before a test starts: PySide's look at each import breaks its lazy one
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--runslow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="takes over a minute: run with --runslow"))


@pytest.fixture(autouse=True)
def studio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PET_STUDIO_HOME for this test alone."""
    home = tmp_path / "home"
    monkeypatch.setenv("PET_STUDIO_HOME", str(home))
    return home


@pytest.fixture(autouse=True, scope="module")
def _no_simulator_left() -> Iterator[None]:
    """A simulator that some test asked would make later plans of this process simulated ones."""
    yield
    simulation = sys.modules.get("studio.service.simulation")
    if simulation is not None and simulation.simulator.cache_info().currsize:
        simulation.simulator().close()
        simulation.simulator.cache_clear()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> object:
        host = address[0] if isinstance(address, tuple) else "local"
        if host not in ("127.0.0.1", "::1", "localhost", "local"):
            raise AssertionError(f"a test tried to reach {host}")
        return connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(autouse=True)
def _no_unexpected_warnings(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A log line at WARNING or above fails the test unless it cleared ``caplog`` after checking it."""
    yield
    unexpected = [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    assert not unexpected, f"unexpected log lines: {[record.getMessage() for record in unexpected]}"
