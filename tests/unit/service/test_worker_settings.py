"""The environment that a worker gets."""

import pytest

from studio.service.start_run import worker_settings


def test_that_what_the_user_set_for_the_threads_or_the_heap_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    assert {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "GLIBC_TUNABLES"} <= set(worker_settings())
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert "GLIBC_TUNABLES" not in worker_settings()
    assert "GOMP_SPINCOUNT" in worker_settings()
