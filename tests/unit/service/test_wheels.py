"""Wheels as data: where they come from, what is checked, what is written."""

import hashlib
import io
import os
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from studio.core.errors import Cancelled, MachineError, UserError
from studio.datasets.progress import ignore_progress, never
from studio.service import wheels
from studio.service.wheels import Wheel, obtain, unpack

MEMBERS = {"pkg/data/a.txt": b"alpha", "pkg/data/sub/b.txt": b"beta", "pkg/__init__.py": b"raise SystemExit"}


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def wheel_of(content: bytes) -> Wheel:
    return Wheel("pkg", "1.0", "pkg-1.0-py3-none-any.whl", hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a shell script in the place of ``python -m pip download``; $DEST is where the file has to go."""
    if sys.platform == "win32":
        pytest.skip("stands in with a shell script")

    def install(script: str) -> None:
        path = tmp_path / "python"
        head = '#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\nDEST="$2"\n'
        path.write_text(head + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return install


def test_that_a_supplied_wheel_is_used_where_it_lies(tmp_path: Path) -> None:
    content = zipped(MEMBERS)
    wheel = wheel_of(content)
    (tmp_path / wheel.filename).write_bytes(content)
    assert obtain(wheel, tmp_path / "cache", tmp_path, ignore_progress, never) == tmp_path / wheel.filename
    assert not (tmp_path / "cache").exists()


def test_that_a_missing_or_damaged_supplied_wheel_is_named(tmp_path: Path) -> None:
    wheel = wheel_of(zipped(MEMBERS))
    with pytest.raises(UserError, match=f"no {wheel.filename}") as caught:
        obtain(wheel, tmp_path, tmp_path, ignore_progress, never)
    assert "pip download --no-deps pkg==1.0" in caught.value.hint
    (tmp_path / wheel.filename).write_bytes(b"torn")
    with pytest.raises(UserError, match="SHA-256 differs"):
        obtain(wheel, tmp_path, tmp_path, ignore_progress, never)


def test_that_pip_downloads_and_progress_follows_its_temporary_file(tmp_path: Path, pip: Callable[[str], None]) -> None:
    content = zipped(MEMBERS)
    wheel = wheel_of(content)
    (tmp_path / "served").write_bytes(content)
    pip(f'cp "{tmp_path}/served" "$TMPDIR/part"\nsleep 0.5\nmv "$TMPDIR/part" "$DEST/{wheel.filename}"\n')
    seen: list[tuple[str, float | None]] = []
    folder = tmp_path / "cache"
    path = obtain(wheel, folder, None, lambda phase, done: seen.append((phase, done)), never)
    assert path.read_bytes() == content
    assert seen[-1] == (f"downloading pkg ({len(content)} B)", 1.0)
    assert [child.name for child in folder.iterdir()] == [wheel.filename]
    pip("exit 1")
    assert obtain(wheel, folder, None, ignore_progress, never) == path, "what is there is not fetched again"


def test_that_pips_last_words_are_shown_with_the_remedy(tmp_path: Path, pip: Callable[[str], None]) -> None:
    pip("i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); done; echo ERROR: no route >&2; exit 1\n")
    with pytest.raises(MachineError) as caught:
        obtain(wheel_of(b"x"), tmp_path / "cache", None, ignore_progress, never)
    assert "ERROR: no route" in caught.value.message
    assert "line 5" not in caught.value.message
    assert "PET_STUDIO_WHEELS" in caught.value.hint


def test_that_another_file_than_expected_is_thrown_away(tmp_path: Path, pip: Callable[[str], None]) -> None:
    wheel = wheel_of(b"the real one")
    pip(f'echo other > "$DEST/{wheel.filename}"\n')
    with pytest.raises(MachineError, match="another file than expected"):
        obtain(wheel, tmp_path / "cache", None, ignore_progress, never)
    assert list((tmp_path / "cache").iterdir()) == []


def test_that_cancelling_ends_pip_at_once(tmp_path: Path, pip: Callable[[str], None]) -> None:
    pip(f'echo $$ > "{tmp_path}/pid"\nexec sleep 60\n')
    with pytest.raises(Cancelled):
        obtain(wheel_of(b"x"), tmp_path / "cache", None, ignore_progress, (tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text() or 0)
    if pid:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_that_a_python_without_pip_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(MachineError, match="no pip"):
        obtain(wheel_of(b"x"), tmp_path / "cache", None, ignore_progress, never)


def test_that_only_the_wanted_members_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(zipped(MEMBERS))
    unpack(path, "pkg/data/", ("a", "sub/"), tmp_path / "out", ignore_progress, never)
    written = {str(file.relative_to(tmp_path / "out")): file.read_bytes() for file in (tmp_path / "out").rglob("*.*")}
    assert written == {"a.txt": b"alpha", str(Path("sub", "b.txt")): b"beta"}


@pytest.mark.parametrize("name", ["pkg/../../evil.txt", "pkg//etc/evil.txt", "pkg/c:/evil.txt", "pkg/a\\..\\evil.txt"])
def test_that_members_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(zipped({name: b"x"}))
    with pytest.raises(UserError, match="unsafe path"):
        unpack(path, "pkg/", ("",), tmp_path / "deep" / "out", ignore_progress, never)
    assert not list(tmp_path.rglob("evil*"))


def test_that_too_large_a_wheel_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(zipped(MEMBERS))
    monkeypatch.setattr(wheels, "UNPACKED_LIMIT_BYTES", 6)
    with pytest.raises(UserError, match="more than 6 B"):
        unpack(path, "pkg/", ("",), tmp_path / "out", ignore_progress, never)
    assert not (tmp_path / "out").exists()


def test_that_unpacking_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(zipped(MEMBERS))
    with pytest.raises(Cancelled):
        unpack(path, "pkg/", ("",), tmp_path / "out", ignore_progress, lambda: True)


def test_that_folders_which_pip_removes_meanwhile_do_not_stop_a_download(tmp_path: Path) -> None:
    done = Event()

    def come_and_go() -> None:
        while not done.is_set():
            nested = tmp_path / "pip-unpack" / "inner"
            nested.mkdir(parents=True)
            (nested / "part").write_bytes(b"1234")
            shutil.rmtree(tmp_path / "pip-unpack")

    (tmp_path / "stays").write_bytes(b"123")
    thread = Thread(target=come_and_go)
    thread.start()
    try:
        sizes = {wheels._size(tmp_path) for _ in range(2000)}
    finally:
        done.set()
        thread.join()
    assert sizes <= {3, 4}
