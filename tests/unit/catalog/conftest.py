"""An open catalog and a maker of runs for the catalog's tests."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.catalog.connection import opened
from studio.catalog.records import put_runs
from studio.catalog.rows import RunRecord

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "boolq-lora",
    "task": "sft",
    "model": {"source": "library:smollm2"},
    "data": {"source": "library:boolq"},
    "method": {"placements": [{"use": "lora", "params": {"rank": 8}}], "budget": None},
}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "catalog.db"
    with opened(path):
        yield path


@pytest.fixture
def add_run(catalog: Path) -> Callable[..., str]:
    """Put a run into the catalog, newer than those before; its id. Keywords replace entries of spec or record."""

    later = itertools.count(1000)

    def add(run_id: str = "20261124-063100-boolq-lora-4f2a", **changes: Any) -> str:
        fields = {key: changes.pop(key) for key in ("created", "plan", "labels") if key in changes}
        fields.setdefault("created", float(next(later)))
        put_runs([RunRecord(run_id, spec={**SPEC, **changes}, **fields)])
        return run_id

    return add
